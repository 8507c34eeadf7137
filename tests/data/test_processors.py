# Copyright 2026 The optimum-evoesap authors. Licensed under the Apache License, Version 2.0.
"""Text for a processor, which goes through its tokenizer."""

from __future__ import annotations

from optimum_evoesap.data import prepare_data
from optimum_evoesap.data.processors import text_tokenizer, wants_parts
from tests.data.images import TEMPLATES, answer, make_processor, options


def test_text_for_a_template_that_reads_parts_only():
    strings, parts = make_processor(TEMPLATES[0]), make_processor(TEMPLATES[2])
    assert [wants_parts(text_tokenizer(each)) for each in (strings, parts)] == [False, True]
    texts = [[{"role": "user", "content": "What is two plus two?"}, answer("four")]]
    assert prepare_data(texts, options(1), parts).fingerprint == prepare_data(texts, options(1), strings).fingerprint


def test_plain_text_goes_through_the_tokenizer_of_the_processor():
    processor = make_processor()
    data = prepare_data(["What is two plus two?"], options(1), processor)
    assert data.fingerprint == prepare_data(["What is two plus two?"], options(1), processor.tokenizer).fingerprint
