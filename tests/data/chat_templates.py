# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Chat templates of the common shapes, and the plain way to find answers by them: slow, a prefix at a time."""

from __future__ import annotations


CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA3 = (
    "{% for m in messages %}{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' + m['content'] | trim + "
    "'<|eot_id|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
# What the system says comes in front of the last question.
MISTRAL = (
    "{%- if messages[0].role == 'system' %}{%- set system = messages[0].content %}"
    "{%- set loop_messages = messages[1:] %}"
    "{%- else %}{%- set system = '' %}{%- set loop_messages = messages %}{%- endif %}{{- bos_token }}"
    "{%- for m in loop_messages %}{%- if m.role == 'user' %}{{- '[INST] ' }}"
    "{%- if system and loop.index0 >= loop.length - 2 + (loop_messages[-1].role == 'user') %}"
    "{{- system + '\n\n' }}{%- endif %}"
    "{{- m.content + '[/INST]' }}{%- else %}{{- ' ' + m.content | trim + eos_token }}{%- endif %}{%- endfor %}"
)
# Without the reasoning of any turn, and a generation prompt that begins with it.
DEEPSEEK = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ m.content }}{% elif m.role == 'user' %}"
    "{{ '<|User|>' + m.content }}"
    "{% elif m.role == 'assistant' %}{% set content = m.content %}{% if '</think>' in content %}"
    "{% set content = content.split('</think>')[-1] %}{% endif %}{{ '<|Assistant|>' + content + '<|end|>' }}"
    "{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|Assistant|><think>\n' }}{% endif %}"
)
# Reasoning stays behind the last question alone.
QWEN3 = (
    "{%- set ns = namespace(last=-1) %}{%- for m in messages %}{%- if m.role == 'user' %}"
    "{%- set ns.last = loop.index0 %}"
    "{%- endif %}{%- endfor %}{%- for m in messages %}{{- '<|im_start|>' + m.role + '\n' }}"
    "{%- if m.role == 'assistant' %}"
    "{%- set content = m.content %}{%- set reasoning = '' %}{%- if m.reasoning_content is string %}"
    "{%- set reasoning = m.reasoning_content %}{%- elif '</think>' in content %}"
    "{%- set reasoning = content.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') %}"
    "{%- set content = content.split('</think>')[-1].lstrip('\n') %}{%- endif %}"
    "{%- if loop.index0 > ns.last and (loop.last or reasoning) %}"
    "{{- '<think>\n' + reasoning.strip('\n') + '\n</think>\n\n' + content.lstrip('\n') }}{%- else %}"
    "{{- content }}{%- endif %}"
    "{%- for call in m.tool_calls or [] %}"
    "{{- '\n<tool_call>\n' + call.function | tojson + '\n</tool_call>' }}{%- endfor %}"
    "{%- else %}{{- m.content }}{%- endif %}{{- '<|im_end|>\n' }}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"
)
GEMMA = (
    "{{ bos_token }}{% for m in messages %}{% set role = 'model' if m.role == 'assistant' else m.role %}"
    "{{ '<start_of_turn>' + role + '\n' + m.content | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
HARMONY = (
    "{%- for m in messages %}{%- if m.role == 'assistant' %}"
    "{%- if m.thinking and loop.last %}"
    "{{- '<|start|>assistant<|channel|>analysis<|message|>' + m.thinking + '<|end|>' }}{%- endif %}"
    "{%- if loop.last %}{{- '<|start|>assistant<|channel|>final<|message|>' + m.content + '<|return|>' }}"
    "{%- else %}{{- '<|start|>assistant<|channel|>final<|message|>' + m.content + '<|end|>' }}{%- endif %}"
    "{%- else %}{{- '<|start|>' + m.role + '<|message|>' + m.content + '<|end|>' }}{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|start|>assistant' }}{%- endif %}"
)
TEMPLATES = {
    "chatml": CHATML,
    "llama3": LLAMA3,
    "mistral": MISTRAL,
    "deepseek": DEEPSEEK,
    "qwen3": QWEN3,
    "gemma": GEMMA,
    "harmony": HARMONY,
}


def slow_marks(messages, tokenizer):
    """The tokens of a conversation and whether each is scored, a prefix of both at a time."""
    whole = tokenizer.apply_chat_template(messages, tokenize=False)
    input_ids = tokenizer(whole, add_special_tokens=False)["input_ids"]
    ends = [len(tokenizer.decode(input_ids[: count + 1])) for count in range(len(input_ids))]
    roles = [message["role"] for message in messages]
    turns = [turn for turn in range(roles.index("user"), len(roles)) if roles[turn] == "assistant"]
    spans = [_slow_span(messages, turn, whole, tokenizer) for turn in turns]
    return input_ids, [any(start < place <= end for start, end in spans) for place in ends]


def _slow_span(messages, turn, whole, tokenizer):
    assert whole.startswith(tokenizer.apply_chat_template(messages[:turn], tokenize=False))
    prompt = tokenizer.apply_chat_template(messages[:turn], tokenize=False, add_generation_prompt=True)
    start = _common(prompt, whole)
    rendered = tokenizer.apply_chat_template(messages[: turn + 1], tokenize=False)[start:]
    answer = next(end for skipped in range(len(rendered) + 1) if whole.startswith(end := rendered[skipped:], start))
    # A template that ends its last turn in a way of its own.
    answer = answer or rendered[: _common(rendered, whole[start:])]
    ending = answer.rstrip()
    return start, start + len(ending if tokenizer.eos_token and ending.endswith(tokenizer.eos_token) else answer)


def _common(first, second):
    pairs = enumerate(zip(first, second))
    return next((index for index, (one, other) in pairs if one != other), min(len(first), len(second)))
