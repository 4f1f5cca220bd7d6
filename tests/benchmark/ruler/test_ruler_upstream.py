"""RULER's own samples from a checkout of it.

The hashes are of what the generators of 2026-07-22 write with the checkout that is made here:
text, answers and length of each sample.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_ruler_generation import WORDS

from benchmark.ruler.benchmark import Ruler
from benchmark.ruler.upstream.words import Pairs
from sparse_attention.errors import UserError

CONSTANTS = """
TASKS = {
    "niah": {
        "tokens_to_generate": 128,
        "template": "Some hidden {type_needle_v} are here.\\n{context}\\nWhich are all {type_needle_v} of {query}?",
        "answer_prefix": " The hidden {type_needle_v} of {query} are",
    },
    "variable_tracking": {
        "tokens_to_generate": 30,
        "template": "Follow the variables of this text.\\n\\n{context}\\nQuestion: Which hold {query}?",
        "answer_prefix": " Answer: the {num_v} that hold {query} are: ",
    },
    "common_words_extraction": {
        "tokens_to_generate": 120,
        "template": "Remember the words of a list.\\n{context}\\nQuestion: Which are the most common?",
        "answer_prefix": " Answer: the most common are:",
    },
    "freq_words_extraction": {
        "tokens_to_generate": 50,
        "template": "Count the words of a text. {context}\\nQuestion: Which are the most frequent?",
        "answer_prefix": " Answer: the most frequent are:",
    },
    "qa": {
        "tokens_to_generate": 32,
        "template": "Read.\\n\\n{context}\\n\\nUse what you read.\\n\\nQuestion: {query}",
        "answer_prefix": " Answer:",
    },
}
"""  # noqa: E501
NOISE = "The pond is deep. The hill is high. There we were. And we left."
MODULES = {
    "constants.py": CONSTANTS,
    "niah.py": 'needle = "One of the {type_needle_v} of {key} is: {value}."\n'
    f'if kind == "essay":\n    haystack = read()\nelse:\n    haystack = "{NOISE}"\n',
    "variable_tracking.py": f'if kind == "noise":\n    haystack = "{NOISE}"\n',
    "qa.py": 'DOCUMENT_PROMPT = "Document {i}:\\n{document}"\n',
}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("upstream") / "RULER"
    folder = root / "scripts" / "data" / "synthetic"
    (folder / "json").mkdir(parents=True)
    for name, source in MODULES.items():
        (folder / name).write_text(source)
    essay = " ".join(f"Sentence {i} of it\tis  here.\n" for i in range(400))
    squad = [
        {
            "paragraphs": [
                {
                    "context": f"Article {article} has a part {part}. " * (2 + part % 5),
                    "qas": [
                        {
                            "question": f"What is in {article}, {part}?",
                            "is_impossible": False,
                            "answers": [{"text": f"thing {article}"}] * 2,
                        }
                    ],
                }
                for part in range(2 + article % 14)
            ]
        }
        for article in range(25)
    ]
    hotpot = [
        {
            "question": f"Which one is {question}?",
            "answer": f"one {question}",
            "supporting_facts": [[f"Page {question}-7", 0], [f"Page {question}-2", 1]],
            "context": [
                [f"Page {question}-{page}", [f"Line {i} of it. " for i in range(1 + page % 4)]]
                for page in range(10)
            ],
        }
        for question in range(30)
    ]
    data = {"PaulGrahamEssays": {"text": essay}, "squad": {"data": squad}, "hotpotqa": hotpot}
    for name, content in data.items():
        (folder / "json" / f"{name}.json").write_text(json.dumps(content))
    return root


def upstream(checkout: Path, folder: Path, **options: object) -> Ruler:
    return Ruler(**{"samples": 3, "upstream": str(checkout), "cache_dir": str(folder), **options})


HASHES = {
    ("niah_single_1", 1200): "a0b7ffb7ddf89f87",
    ("niah_single_1", 4500): "5eb09175dd7e680b",
    ("niah_single_2", 1200): "4489e1b1461a9706",
    ("niah_single_2", 4500): "e6dba602402bb3c7",
    ("niah_single_3", 1200): "3cf601812e0909dd",
    ("niah_single_3", 4500): "55fd68a416af5b22",
    ("niah_multikey_1", 1200): "141d0f19d73174ec",
    ("niah_multikey_1", 4500): "ae3128afe60cb2db",
    ("niah_multikey_2", 1200): "2a6d781801933c1e",
    ("niah_multikey_2", 4500): "1898baa66fd24a87",
    ("niah_multikey_3", 1200): "7e04a6dc93e44f73",
    ("niah_multikey_3", 4500): "1b6e44443a784297",
    ("niah_multivalue", 1200): "11b01e68f52ae654",
    ("niah_multivalue", 4500): "4200c40fccd11bbe",
    ("niah_multiquery", 1200): "5f47b0bc4429ee36",
    ("niah_multiquery", 4500): "8956b317ac3c374e",
    ("vt", 1200): "74d33c50f22792d2",
    ("vt", 4500): "925509ce68847fa5",
    ("cwe", 1200): "72d9e19f7fe98e57",
    ("cwe", 4500): "4f2cd3c996039e44",
    ("fwe", 1200): "edd0e495ee4e048b",
    ("fwe", 4500): "a58eee50fec5f435",
    ("qa_1", 1200): "8b73ba10f15ab1d0",
    ("qa_1", 4500): "7c451013f2a380fa",
    ("qa_2", 1200): "d7b67fcd5b41ab5b",
    ("qa_2", 4500): "6250c94962243664",
}


@pytest.mark.parametrize("length", [1200, 4500])
@pytest.mark.parametrize("task", Ruler.subsets)
def test_samples_are_upstreams(task, length, checkout, tmp_path):
    samples = upstream(checkout, tmp_path, length=length).samples(task, WORDS)
    rows = [
        [s.context + s.question, s.answer_prefix, list(s.answers), s.extra["length_tokens"]]
        for s in samples
    ]
    assert all(row[3] <= length for row in rows)
    digest = hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]
    assert digest == HASHES[task, length]


def test_prompts_have_no_newline_of_ours(checkout, tmp_path):
    ruler = upstream(checkout, tmp_path, length=1200)
    (sample, *_) = ruler.samples("niah_single_1", WORDS)
    assert sample.question.endswith("?")
    assert sample.answer_prefix.startswith(" The hidden number of ")
    assert "A hidden number is here." in sample.context, "one value is asked for in the singular"
    (sample, *_) = ruler.samples("niah_multivalue", WORDS)
    assert "Some hidden numbers are here." in sample.context


def test_the_record_says_what_samples_are_made_from(checkout, tmp_path):
    ruler = upstream(checkout, tmp_path, length=1200)
    prose, noise = (ruler.provenance(t, WORDS) for t in ("niah_single_2", "niah_single_1"))
    assert prose["upstream_sha256"] == noise["upstream_sha256"]
    assert {"haystack_sha256", "sentence_splitter"} <= prose.keys() - noise.keys()
    assert ruler.provenance("qa_2", WORDS)["questions"] == "hotpotqa.json"


@pytest.mark.parametrize(
    ("name", "content", "task", "message"),
    [
        ("constants.py", "TASKS = 1", "vt", "assigns no dictionary TASKS"),
        ("constants.py", "TASKS = {", "vt", "is no Python module"),
        ("constants.py", "TASKS = dict(vt=call())", "vt", "no plain dictionary"),
        ("constants.py", "TASKS = {'niah': {}}", "vt", "no 'variable_tracking' with template"),
        ("constants.py", CONSTANTS.replace("{query}", "{quarry}"), "vt", "quarry|query"),
        ("niah.py", "needle = 1", "niah_single_1", "assigns no string needle"),
        ("niah.py", "needle = '{key.x} {value}'", "niah_single_1", "needle"),
        ("json/PaulGrahamEssays.json", "{}", "niah_single_2", "PaulGrahamEssays"),
        ("json/squad.json", None, "qa_1", "squad.json"),
        ("json/english_words.json", "[]", "cwe", "english_words.json must be"),
    ],
)
def test_a_checkout_with_a_fault(name, content, task, message, checkout, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(checkout, copy)
    file = copy / "scripts" / "data" / "synthetic" / name
    file.unlink(missing_ok=True)
    if content is not None:
        file.write_text(content)
    length = 200_000 if task == "cwe" else 1200
    with pytest.raises(UserError, match=message):
        upstream(copy, tmp_path / "c", length=length, samples=1).samples(task, WORDS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"upstream": "/no/such"}, "no checkout of RULER"),
        ({"prompts": "mine.json"}, "with upstream, prompts is what upstream has"),
        ({"lexicon": "embedded"}, "lexicon"),
        ({"length": 200}, "does not fit length 200 as upstream draws it"),
    ],
)
def test_bad_options(options, message, checkout, tmp_path):
    with pytest.raises(UserError, match=message):
        upstream(checkout, tmp_path, **options).samples("niah_single_1", WORDS)


@given(
    st.lists(st.text("ab-", min_size=1, max_size=4), min_size=1, max_size=8),
    st.lists(st.text("ab-", min_size=1, max_size=4), min_size=1, max_size=8),
)
def test_pairs_are_all_sorted(adjectives, nouns):
    ours = Pairs(adjectives, nouns)
    groups = [f"{adjective}-{noun}" for adjective in adjectives for noun in nouns]
    expected = sorted(set(groups))
    if len(expected) == len(set(adjectives)) * len(set(nouns)):
        assert list(ours) == expected
