# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Train the tiny OLMoE from scratch on freshly generated examples; the defaults made the shipped checkpoint."""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from evaluate import exact_match
from make_data import HELDOUT_FILE, read_jsonl
from make_tokenizer import ASSISTANT, chat_text
from tasks import generate, prompt_of
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from transformers import AutoTokenizer, OlmoeConfig, OlmoeForCausalLM, PreTrainedModel, PreTrainedTokenizerBase
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS


HERE = Path(__file__).parent
PADDING = -1  # the document number of the padding at the end of a row


class PackedChats(IterableDataset):
    """Endless batches of freshly generated chats, whole chats packed into rows of a fixed length.

    A batch is two integer arrays of shape (rows, length): the tokens, and a number for each token. The number is twice
    the position of the token's chat in its row, plus one for the tokens of the assistant.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, rows: int, length: int, seed: int, exclude: frozenset[str]):
        self.tokenizer, self.rows, self.length, self.seed, self.exclude = tokenizer, rows, length, seed, exclude

    def _chats(self) -> Iterator[tuple[list[int], int]]:
        """Token ids of one chat after another, with the position where the assistant's tokens begin."""
        worker = get_worker_info()
        # Seeds of different workers never meet: each worker has its own million.
        seed = (self.seed + 1) * 10**9 + (worker.id if worker else 0) * 10**6
        assistant = self.tokenizer.convert_tokens_to_ids(ASSISTANT)
        encode = self.tokenizer.backend_tokenizer.encode_batch
        while True:
            examples = generate(2000, seed, exclude=self.exclude)
            for encoding in encode([chat_text(example) for example in examples], add_special_tokens=False):
                ids = encoding.ids
                yield ids, ids.index(assistant) + 1
            seed += 1

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield batches of tokens and numbers."""
        chats = self._chats()
        ids, reply = next(chats)
        while True:
            tokens = np.full((self.rows, self.length), self.tokenizer.pad_token_id, dtype=np.int16)
            numbers = np.full((self.rows, self.length), PADDING, dtype=np.int16)
            for row in range(self.rows):
                start = chat = 0
                while start + len(ids) <= self.length:
                    tokens[row, start : start + len(ids)] = ids
                    numbers[row, start : start + len(ids)] = 2 * chat
                    numbers[row, start + reply : start + len(ids)] += 1
                    start, chat = start + len(ids), chat + 1
                    ids, reply = next(chats)
            yield torch.from_numpy(tokens), torch.from_numpy(numbers)


def dense_experts(
    self: torch.nn.Module, hidden_states: torch.Tensor, top_k_index: torch.Tensor, top_k_weights: torch.Tensor
) -> torch.Tensor:
    """Every expert on every token, weighted by zero where the router did not choose it.

    The same function as a sparse forward pass. With experts this small, three large matrix products take less time
    than sorting the tokens by expert.
    """
    num_tokens, num_experts = hidden_states.shape[0], self.num_experts
    weights = hidden_states.new_zeros(num_tokens, num_experts, dtype=top_k_weights.dtype)
    weights = weights.scatter(1, top_k_index, top_k_weights)
    gate, up = F.linear(hidden_states, self.gate_up_proj.flatten(0, 1)).view(num_tokens, num_experts, -1).chunk(2, -1)
    inner = self.act_fn(gate) * up * weights.unsqueeze(-1)
    return inner.flatten(1).to(gate.dtype) @ self.down_proj.transpose(1, 2).flatten(0, 1).to(gate.dtype)


def build_model(args: argparse.Namespace, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """An OLMoE with random weights."""
    config = OlmoeConfig(
        vocab_size=len(tokenizer),
        hidden_size=args.hidden_size,
        intermediate_size=args.intermediate_size,
        num_hidden_layers=args.layers,
        num_attention_heads=args.heads,
        num_experts=args.experts,
        num_experts_per_tok=args.top_k,
        max_position_embeddings=1024,
        initializer_range=0.05,
        router_aux_loss_coef=args.aux_loss,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return with_dense_experts(OlmoeForCausalLM(config))


def with_dense_experts(model: PreTrainedModel) -> PreTrainedModel:
    """The same model, which from now on computes every expert on every token."""
    ALL_EXPERTS_FUNCTIONS.register("dense", dense_experts)
    model.config._experts_implementation = "dense"
    return model


def attention_mask(numbers: torch.Tensor, open_rows: int) -> torch.Tensor:
    """Causal attention inside each chat; the first rows see the chats before theirs too.

    Those few rows keep the model sound on packed text, where some libraries do not part the samples.
    """
    chat = numbers // 2
    same = chat.unsqueeze(2) == chat.unsqueeze(1)
    same[:open_rows] = True
    return same.tril().unsqueeze(1)


def balance_loss(router_logits: tuple[torch.Tensor, ...], mask: torch.Tensor, top_k: int) -> torch.Tensor:
    """The load-balancing loss that transformers gives OLMoE: shares and probabilities are pooled over all layers.

    A layer may leave experts idle as long as another makes up for it, so layers come to need different numbers.
    """
    mask = mask.flatten().float().unsqueeze(1)
    shares, means = [], []
    for logits in router_logits:
        probabilities = logits.float().softmax(-1)
        chosen = torch.zeros_like(probabilities).scatter(1, probabilities.topk(top_k, dim=-1).indices, 1.0)
        shares.append(((chosen * mask).sum(0) / mask.sum()).detach())
        means.append((probabilities * mask).sum(0) / mask.sum())
    return router_logits[0].shape[-1] * (torch.stack(shares).mean(0) * torch.stack(means).mean(0)).sum()


def training_loss(
    model: PreTrainedModel, tokens: torch.Tensor, numbers: torch.Tensor, prompt_weight: float, open_rows: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weighted next-token loss with the load-balancing loss, and the loss on the assistant's tokens alone.

    A model whose config names no weight for the load-balancing loss is trained without.
    """
    mask = attention_mask(numbers, open_rows)
    balance_weight = getattr(model.config, "router_aux_loss_coef", 0.0)
    output = model.model(tokens, attention_mask=mask, output_router_logits=balance_weight > 0, use_cache=False)
    logits = model.lm_head(output.last_hidden_state[:, :-1])
    losses = F.cross_entropy(logits.flatten(0, 1).float(), tokens[:, 1:].flatten(), reduction="none")
    target, same = numbers[:, 1:].flatten(), (numbers[:, 1:] // 2 == numbers[:, :-1] // 2).flatten()
    reply = ((target % 2 == 1) & (target >= 0)).float()
    # The first token of a chat cannot be known from the chat before it, so it has no weight.
    weight = torch.where(target >= 0, reply + (1 - reply) * prompt_weight, 0.0) * same
    loss = (losses * weight).sum() / weight.sum()
    if balance_weight > 0:
        balance = balance_loss(output.router_logits, numbers >= 0, model.config.num_experts_per_tok)
        loss = loss + balance_weight * balance
    reply_loss = (losses * reply).sum() / reply.sum()
    return loss, reply_loss.detach()


def make_optimizer(model: PreTrainedModel, lr: torch.Tensor, weight_decay: float) -> torch.optim.AdamW:
    """AdamW with weight decay on the matrices only."""
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98), fused=lr.is_cuda, capturable=lr.is_cuda)


def learning_rate(step: int, seconds: float, args: argparse.Namespace) -> float:
    """Linear warm-up, then a cosine down to a hundredth at the last step, or when the time is up if that is sooner."""
    if step < args.warmup:
        return args.lr * (step + 1) / args.warmup
    progress = max((step - args.warmup) / max(1, args.steps - args.warmup), min(1.0, seconds / args.seconds))
    return args.lr * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))


Losses = tuple[torch.Tensor, torch.Tensor]
Step = Callable[[torch.Tensor, torch.Tensor], Losses]


def make_step(
    model: PreTrainedModel,
    lr: torch.Tensor,
    args: argparse.Namespace,
    after_step: Callable[[torch.Tensor], None] = lambda numbers: None,
) -> Step:
    """One step of training on a batch; `after_step` is called with the numbers of its tokens."""
    optimizer = make_optimizer(model, lr, args.weight_decay)
    loss_function = torch.compile(training_loss, dynamic=False) if args.compile else training_loss
    open_rows = round(args.rows * args.open_rows)

    def step(tokens: torch.Tensor, numbers: torch.Tensor) -> Losses:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(lr.device.type, dtype=torch.bfloat16, enabled=args.autocast, cache_enabled=False):
            loss, reply_loss = loss_function(model, tokens, numbers, args.prompt_weight, open_rows)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        after_step(numbers)
        return loss.detach(), reply_loss

    return step


class RecordedStep:
    """A step recorded as a CUDA graph after a few ordinary ones.

    The model is so small that launching its kernels one by one takes longer than running them.
    """

    def __init__(self, step: Step, ordinary_steps: int = 5):
        self.step, self.ordinary_steps, self.graph = step, ordinary_steps, None

    def __call__(self, tokens: torch.Tensor, numbers: torch.Tensor) -> Losses:
        """Run one step, by replaying the graph once there is one."""
        if self.ordinary_steps > 0:
            self.ordinary_steps -= 1
            return self._beside(tokens, numbers)
        if self.graph is None:
            self.inputs, self.graph = (tokens.clone(), numbers.clone()), torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                self.losses = self.step(*self.inputs)
        for old, new in zip(self.inputs, (tokens, numbers)):
            old.copy_(new)
        self.graph.replay()
        return self.losses

    def _beside(self, tokens: torch.Tensor, numbers: torch.Tensor) -> Losses:
        """Run a step on a stream of its own, as recording asks of the steps before it."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            losses = self.step(tokens, numbers)
        torch.cuda.current_stream().wait_stream(stream)
        return losses


def fast_step(model: PreTrainedModel, lr: torch.Tensor, args: argparse.Namespace) -> Step:
    """A step of training, recorded where there is a GPU."""
    step = make_step(model, lr, args)
    return RecordedStep(step) if lr.is_cuda else step


def train(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    args: argparse.Namespace,
    step_of: Callable[[PreTrainedModel, torch.Tensor, argparse.Namespace], Step] = fast_step,
) -> int:
    """Run the training loop, printing the loss and now and then the held-out exact match; return the steps done."""
    device = torch.device(args.device)
    heldout = read_jsonl(HELDOUT_FILE)
    chats = PackedChats(tokenizer, args.rows, args.length, args.seed, frozenset(map(prompt_of, heldout)))
    batches = iter(DataLoader(chats, batch_size=None, num_workers=args.workers, pin_memory=device.type == "cuda"))
    lr = torch.zeros((), device=device)
    run_step = step_of(model, lr, args)
    start = time.perf_counter()
    model.train()
    for step in range(args.steps):
        tokens, numbers = (part.to(device, torch.int64, non_blocking=True) for part in next(batches))
        seconds = time.perf_counter() - start
        if seconds >= args.seconds:
            return step
        lr.fill_(learning_rate(step, seconds, args))
        loss, reply_loss = run_step(tokens, numbers)
        if step % args.log_every == 0:
            seconds = time.perf_counter() - start
            print(f"step {step} loss {loss.item():.4f} reply {reply_loss.item():.4f} at {seconds:.0f} s", flush=True)
        if (step + 1) % args.eval_every == 0:
            print(json.dumps(exact_match(model, tokenizer, heldout, batch_size=320)), flush=True)
            model.train()
    return args.steps


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, output: Path) -> None:
    """Write the checkpoint in bfloat16."""
    model.config._experts_implementation = None
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    model.to("cpu", torch.bfloat16).save_pretrained(output)
    tokenizer.backend_tokenizer.no_padding()  # evaluation left its padding in the tokenizer's state
    tokenizer.save_pretrained(output)
    print(f"{model.num_parameters():,} parameters, {(output / 'model.safetensors').stat().st_size / 1e6:.2f} MB")


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=HERE / "checkpoint")
    parser.add_argument("--tokenizer", type=Path, default=HERE / "checkpoint")
    parser.add_argument("--hidden-size", type=int, default=128)
    parser.add_argument("--intermediate-size", type=int, default=64)
    parser.add_argument("--layers", type=int, default=8)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--experts", type=int, default=16)
    parser.add_argument("--top-k", type=int, default=2)
    parser.add_argument("--aux-loss", type=float, default=0.01)
    parser.add_argument("--steps", type=int, default=30000)
    parser.add_argument("--seconds", type=float, default=math.inf, help="end after this time where it is not enough")
    parser.add_argument("--rows", type=int, default=64, help="rows in a batch")
    parser.add_argument("--length", type=int, default=512, help="tokens in a row")
    parser.add_argument("--open-rows", type=float, default=0.25, help="share of the rows where chats see each other")
    parser.add_argument("--prompt-weight", type=float, default=0.1, help="loss weight of a token outside a reply")
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--warmup", type=int, default=500)
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument("--workers", type=int, default=12, help="processes that generate data")
    parser.add_argument("--log-every", type=int, default=500)
    parser.add_argument("--eval-every", type=int, default=6000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--autocast", action=argparse.BooleanOptionalAction, default=torch.cuda.is_available())
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=torch.cuda.is_available())
    return parser.parse_args(arguments)


def main() -> None:
    args = parse_args()
    torch.manual_seed(args.seed)
    torch.set_float32_matmul_precision("high")
    tokenizer = AutoTokenizer.from_pretrained(args.tokenizer)
    model = build_model(args, tokenizer).to(args.device)
    start = time.perf_counter()
    train(model, tokenizer, args)
    print(f"trained for {time.perf_counter() - start:.0f} seconds")
    save(model, tokenizer, args.output)


if __name__ == "__main__":
    main()
