from __future__ import annotations

import json

import pytest

from kipuka.web.http import json_answers


def test_an_answer_is_json_that_no_cache_keeps() -> None:
    answered = json_answers.answer(200, {"subject": "CN=Grün\nX"}, ("Retry-After", "3"))
    assert answered.status == 200
    assert answered.media_type == "application/json"
    assert json.loads(answered.body) == {"subject": "CN=Grün\nX"}
    assert answered.body.count(b"\n") == 1
    assert answered.headers == (("Cache-Control", "no-store"), ("Retry-After", "3"))


def test_an_error_has_a_code_and_a_sentence() -> None:
    answered = json_answers.error(404, json_answers.code_of(404), "There is no such thing: look elsewhere.")
    assert answered.status == 404
    assert json.loads(answered.body) == {"error": "not_found", "message": "There is no such thing: look elsewhere."}


def test_half_a_character_does_not_end_the_answer() -> None:
    assert json.loads(json_answers.answer(200, "\udc80").body) == "\udc80"


def test_what_json_has_no_word_for_is_refused() -> None:
    with pytest.raises(ValueError):
        json_answers.answer(200, float("nan"))
    with pytest.raises(TypeError):
        json_answers.answer(200, b"bytes")
