# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Eight synthetic tasks whose answers are exact.

Every task draws a question and its answer from a `random.Random`, so one seed gives one data set. An example is a chat
of two messages with the name of its task and the exact final answer:

    {"messages": [{"role": "user", ...}, {"role": "assistant", ...}], "task": "arithmetic", "answer": "5200"}

The assistant's message is the answer itself, except where the task is worked step by step and ends in `#### answer`:
every `word_problem`, and the questions of `story` that take two steps.
"""

from __future__ import annotations

import operator
import random
from collections.abc import Callable, Collection, Sequence
from typing import Any


Example = dict[str, Any]

ANSWER_MARK = "####"
NAMES = ("Ana", "Ben", "Carla", "Dan", "Eva", "Finn", "Gina", "Hugo", "Iris", "Jack", "Kim", "Leo")
ITEMS = ("apples", "books", "coins", "eggs", "marbles", "pens", "shells", "stamps")
PLACES = ("kitchen", "garden", "office", "garage", "attic", "cellar")
THINGS = ("ball", "key", "lamp", "map")
COMPARISONS = {"<": operator.lt, ">": operator.gt}


def _example(task: str, question: str, answer: Any, worked: str | None = None) -> Example:
    reply = str(answer) if worked is None else f"{worked} {ANSWER_MARK} {answer}"
    messages = [{"role": "user", "content": question}, {"role": "assistant", "content": reply}]
    return {"messages": messages, "task": task, "answer": str(answer)}


def arithmetic(rng: random.Random) -> Example:
    """Addition and subtraction of numbers of up to four digits, in one go."""
    a, b = (rng.randrange(10 ** (digits - 1), 10**digits) for digits in rng.choices((1, 2, 3, 4), (1, 3, 6, 8), k=2))
    sign = rng.choice("+-")
    question = rng.choice(("What is {} {} {}?", "Compute {} {} {}.", "{} {} {} = ?")).format(a, sign, b)
    return _example("arithmetic", question, a + b if sign == "+" else a - b)


def _story_step(rng: random.Random, have: int, who: str, item: str) -> tuple[str, str, int]:
    """One event of a word problem: its sentence, its working and the new amount."""
    friend, k, m = rng.choice([name for name in NAMES if name != who]), rng.randint(2, 9), rng.randint(2, 9)
    some = rng.randint(2, 40)
    kind = rng.choice(("buy", "bags", "double", "give", "lose", "give_each"))
    if kind == "give" and have > some:
        return f"{who} gives {some} {item} to {friend}.", f"{have}-{some}={have - some}.", have - some
    if kind == "lose" and have > some:
        return f"{who} loses {some} {item}.", f"{have}-{some}={have - some}.", have - some
    if kind == "give_each" and have > k * m:
        work = f"{k}*{m}={k * m}. {have}-{k * m}={have - k * m}."
        return f"{who} gives {m} {item} to each of {k} friends.", work, have - k * m
    if kind == "double" and have <= 50:
        return f"{friend} doubles what {who} has.", f"{have}*2={have * 2}.", have * 2
    if kind == "bags":
        work = f"{k}*{m}={k * m}. {have}+{k * m}={have + k * m}."
        return f"{who} buys {k} bags with {m} {item} each.", work, have + k * m
    return f"{who} finds {some} more {item}.", f"{have}+{some}={have + some}.", have + some


def word_problem(rng: random.Random) -> Example:
    """A short story about an amount, worked one equation at a time."""
    who, item, have = rng.choice(NAMES), rng.choice(ITEMS), rng.randint(2, 60)
    sentences, steps = [f"{who} has {have} {item}."], []
    for _ in range(rng.randint(2, 4)):
        sentence, work, have = _story_step(rng, have, who, item)
        sentences.append(sentence)
        steps.append(work)
    question = " ".join([*sentences, f"How many {item} does {who} have now?"])
    return _example("word_problem", question, have, " ".join(steps))


def code(rng: random.Random) -> Example:
    """The output of a snippet of Python with assignments, one loop and one branch."""
    a, b = rng.sample("abcdnxy", 2)
    x, k, add, loops, limit = (rng.randint(*span) for span in ((2, 15), (2, 9), (1, 9), (2, 5), (5, 60)))
    sign, compare = rng.choice("+-*"), rng.choice("<>")
    y = {"+": x + k, "-": x - k, "*": x * k}[sign]
    lines = [f"{a} = {x}", f"{b} = {a} {sign} {k}"]
    shape = rng.choice(("loop", "branch", "both"))
    if shape != "branch":
        lines += [f"for i in range({loops}):", f"    {b} += {add}"]
        y += loops * add
    if shape != "loop":
        then, other = rng.randint(1, 9), rng.randint(1, 9)
        lines += [f"if {b} {compare} {limit}:", f"    {b} -= {then}", "else:", f"    {b} += {other}"]
        y = y - then if COMPARISONS[compare](y, limit) else y + other
    lines.append(f"print({b})")
    return _example("code", "What does this print?\n" + "\n".join(lines), y)


def list_ops(rng: random.Random) -> Example:
    """Sorting, reversing, filtering and extremes of a list of numbers."""
    numbers = [rng.randint(0, 99) for _ in range(rng.randint(4, 8))]
    limit = rng.randint(20, 80)
    question, answer = rng.choice(
        (
            ("Sort {}.", sorted(numbers)),
            ("Sort {} from high to low.", sorted(numbers, reverse=True)),
            ("Reverse {}.", numbers[::-1]),
            ("Keep the even numbers of {}.", [n for n in numbers if n % 2 == 0]),
            (f"Keep the numbers above {limit} in {{}}.", [n for n in numbers if n > limit]),
            ("What are the smallest and the largest number of {}?", [min(numbers), max(numbers)]),
        )
    )
    return _example("list_ops", question.format(numbers), answer)


def _word(rng: random.Random, syllables: int) -> str:
    return "".join(rng.choice("bcdfgklmnprstvz") + rng.choice("aeiou") for _ in range(syllables))


def string_ops(rng: random.Random) -> Example:
    """Letters of an invented word: reversed, in capitals, counted, filtered or swapped."""
    word = _word(rng, rng.randint(2, 4))
    if rng.random() < 0.5:
        word += rng.choice("lmnrst")
    letter = rng.choice(word)
    question, answer = rng.choice(
        (
            ('Reverse the word "{}".', word[::-1]),
            ('Write "{}" in capitals.', word.upper()),
            (f'How many times is "{letter}" in "{{}}"?', word.count(letter)),
            ('Remove the vowels from "{}".', "".join(c for c in word if c not in "aeiou")),
            ('Sort the letters of "{}".', "".join(sorted(word))),
            ('Swap the first and the last letter of "{}".', word[-1] + word[1:-1] + word[0]),
        )
    )
    return _example("string_ops", question.format(word), answer)


def recall(rng: random.Random) -> Example:
    """Look up one or two keys among the pairs in the context."""
    count = rng.randint(4, 9)
    keys: set[str] = set()
    while len(keys) < count:
        keys.add(_word(rng, 2))
    pairs = list(zip(sorted(keys), rng.sample(range(10, 1000), count)))
    rng.shuffle(pairs)
    (first, one), (second, two) = rng.sample(pairs, 2)
    table = ", ".join(f"{k}: {v}" for k, v in pairs)
    if rng.random() < 0.5:
        return _example("recall", f"{table}. Which value has {first}?", one)
    return _example("recall", f"{table}. Which values have {first} and {second}?", f"{one}, {two}")


def story(rng: random.Random) -> Example:
    """Who is where and who holds what, after some moves."""
    people, things = rng.sample(NAMES, 3), rng.sample(THINGS, 2)
    place = {who: rng.choice(PLACES) for who in people}
    sentences = [f"{who} is in the {place[who]}." for who in people]
    holder: dict[str, str] = {}
    for thing in things:
        holder[thing] = rng.choice(people)
        sentences.append(f"The {thing} is with {holder[thing]}.")
    for _ in range(rng.randint(2, 4)):
        who = rng.choice(people)
        held = [thing for thing in things if holder[thing] == who]
        if held and rng.random() < 0.4:
            thing = rng.choice(held)
            holder[thing] = rng.choice([other for other in people if other != who])
            sentences.append(f"{who} gives the {thing} to {holder[thing]}.")
        else:
            place[who] = rng.choice([there for there in PLACES if there != place[who]])
            sentences.append(f"{who} goes to the {place[who]}.")
    who, thing = rng.choice(people), rng.choice(things)
    owner = holder[thing]
    question, answer, worked = rng.choice(
        (
            (f"Where is {who}?", place[who], None),
            (f"Who has the {thing}?", owner, None),
            (f"Where is the {thing}?", place[owner], f"{owner} has the {thing}."),
            (f"Where is the {thing}?", place[owner], f"{owner} has the {thing}."),
        )
    )
    return _example("story", " ".join([*sentences, question]), answer, worked)


def sequence(rng: random.Random) -> Example:
    """The next two terms of a sequence of one of five kinds."""
    kind = rng.choice(("steady", "falling", "growing", "sums", "mixed"))
    shown = rng.randint(4, 6)
    terms, step, growth = [rng.randint(1, 99)], rng.randint(2, 15), rng.randint(1, 6)
    other = rng.choice([n for n in range(2, 16) if n != step])
    if kind == "sums":
        terms.append(rng.randint(1, 30))
    while len(terms) < shown + 2:
        index = len(terms) - 1
        terms.append(
            {
                "steady": terms[-1] + step,
                "falling": terms[-1] - step,
                "growing": terms[-1] + step + index * growth,
                "sums": terms[-1] + (terms[-2] if index else 0),
                "mixed": terms[-1] + (other if index % 2 else step),
            }[kind]
        )
    question = "Continue: " + ", ".join(map(str, terms[:shown]))
    return _example("sequence", question, ", ".join(map(str, terms[shown:])))


TASKS: dict[str, Callable[[random.Random], Example]] = {
    "arithmetic": arithmetic,
    "word_problem": word_problem,
    "code": code,
    "list_ops": list_ops,
    "string_ops": string_ops,
    "recall": recall,
    "story": story,
    "sequence": sequence,
}


def prompt_of(example: Example) -> str:
    """The user's message of an example."""
    return example["messages"][0]["content"]


def generate(
    num_examples: int, seed: int, tasks: Sequence[str] | None = None, exclude: Collection[str] = ()
) -> list[Example]:
    """Draw examples, the same number of every task, in a shuffled order.

    Args:
        num_examples: How many examples in all.
        seed: The same seed gives the same examples.
        tasks: Names of the tasks to draw from, all eight by default.
        exclude: Prompts that must not be drawn, such as the held-out ones.
    """
    rng = random.Random(seed)
    names = list(TASKS if tasks is None else tasks)
    exclude = frozenset(exclude)
    examples = []
    for index in range(num_examples):
        make = TASKS[names[index % len(names)]]
        example = make(rng)
        while prompt_of(example) in exclude:
            example = make(rng)
        examples.append(example)
    rng.shuffle(examples)
    return examples


def final_answer(text: str) -> str:
    """The final answer in a reply: what follows the last `####`, or the whole reply."""
    return text.rsplit(ANSWER_MARK, 1)[-1].strip()


def is_correct(example: Example, generated_text: str) -> bool:
    """Whether a generated reply gives exactly the example's answer."""
    return final_answer(generated_text) == example["answer"]
