"""RULER's samples: lengths, answers, randomness, sources."""

from __future__ import annotations

import itertools
import json
import re
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from benchmark.embedded import MODEL_PATH, SUPPORTED_TASKS
from benchmark.ruler import create_huggingface_dataset
from benchmark.ruler.benchmark import Ruler
from benchmark.ruler.calculate_metrics import calculate_metrics
from benchmark.ruler.generate import frame_tokens
from benchmark.ruler.options import task_named
from benchmark.ruler.sentences import split_by_rules
from sparse_attention.errors import UserError
from sparse_attention.prompt import encode_prompt


def word_tokenizer() -> PreTrainedTokenizerFast:
    """Counts words and punctuation marks."""
    backend = Tokenizer(models.WordLevel({"x": 0}, unk_token="x"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return PreTrainedTokenizerFast(tokenizer_object=backend)


WORDS = word_tokenizer()
EMBEDDED = AutoTokenizer.from_pretrained(MODEL_PATH)


@pytest.fixture(scope="module")
def qa_files(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("qa")
    squad = {
        "data": [
            {
                "paragraphs": [
                    {
                        "context": f"Thing {10 * town + i} stands in Town{town} by the river.",
                        "qas": [
                            {
                                "question": f"Where is thing {10 * town + i}?",
                                "is_impossible": False,
                                "answers": [{"text": f"Town{town}"}],
                            },
                            {"question": "None?", "is_impossible": True, "answers": []},
                        ],
                    }
                    for i in range(10)
                ]
            }
            for town in range(40)
        ]
    }
    hotpot = [
        {
            "question": f"Who made item {i}?",
            "answer": f"Maker{i}",
            "context": [
                [f"Item {i} {k}", [f"Maker{i if k == 0 else -k} was here."]] for k in range(9)
            ],
        }
        for i in range(60)
    ]
    (folder / "squad.json").write_text(json.dumps(squad))
    (folder / "hotpot.json").write_text(json.dumps(hotpot))
    return {
        "squad_file": str(folder / "squad.json"),
        "hotpotqa_file": str(folder / "hotpot.json"),
    }


@pytest.mark.parametrize("length", [256, 700, 4096])
@pytest.mark.parametrize("task", Ruler.subsets)
def test_every_task_fills_its_length_and_holds_its_answers(task, length, qa_files, tmp_path):
    ruler = Ruler(length=length, samples=3, cache_dir=str(tmp_path), **qa_files)
    samples = ruler.samples(task, WORDS)
    assert len({sample.id for sample in samples}) == 3
    for sample in samples:
        text = f"{sample.context}{sample.question}\n{sample.answer_prefix}"
        used = len(WORDS.encode(text, add_special_tokens=False)) + sample.max_new_tokens
        assert used <= length
        if task not in ("qa_1", "qa_2"):
            assert used >= 0.85 * length
        assert sample.task == task
        assert sample.answers
        found = [answer in sample.context for answer in sample.answers]
        assert all(found) if task not in ("qa_1", "qa_2") else any(found)
        assert not sample.question.endswith("\n")
        assert not sample.answer_prefix.startswith(" ")
        json.dumps(dict(sample.extra))


@pytest.mark.parametrize("task", SUPPORTED_TASKS)
@pytest.mark.parametrize("length", [256, 1024, 4096])
def test_the_embedded_lexicon_is_made_of_whole_tokens(task, length, tmp_path):
    ruler = Ruler(length=length, samples=2, lexicon="embedded", cache_dir=str(tmp_path))
    words = {token for token in EMBEDDED.get_vocab() if len(token) > 1}
    for sample in ruler.samples(task, EMBEDDED):
        text = f"{sample.context}{sample.question}\n{sample.answer_prefix}"
        tokens = EMBEDDED.tokenize(text)
        letters = {token for token in tokens if token not in words and token.isalnum()}
        assert letters <= {"A", "Ċ"}  # the article and the newline
        assert len(tokens) + sample.max_new_tokens + 1 <= length


@pytest.mark.parametrize("task", ["niah_multikey_1", "niah_multikey_2", "niah_multiquery"])
def test_the_asked_keys_are_unique(task, tmp_path):
    ruler = Ruler(length=4096, samples=4, lexicon="embedded", cache_dir=str(tmp_path))
    for sample in ruler.samples(task, EMBEDDED):
        asked = sample.question.split(" for ")[1].rstrip("?").replace(",", " ").split()
        for key in (word for word in asked if word != "and"):
            assert sample.context.count(f"The magic number for {key} is ") == 1


def test_answers_of_the_needles_are_in_the_order_of_the_question(tmp_path):
    ruler = Ruler(length=1024, samples=4, lexicon="embedded", cache_dir=str(tmp_path))
    for sample in ruler.samples("niah_multiquery", EMBEDDED):
        asked = sample.question.split(" for ")[1].rstrip("?").replace(",", " ").split()
        keys = [word for word in asked if word != "and"]
        for key, value in zip(keys, sample.answers, strict=True):
            assert f"The magic number for {key} is {value}." in sample.context


def test_variables_form_a_chain_from_the_value(tmp_path):
    ruler = Ruler(length=1024, samples=4, lexicon="embedded", cache_dir=str(tmp_path))
    for sample in ruler.samples("vt", EMBEDDED):
        value = sample.question.rstrip("?").split()[-1]
        chain = sample.answers
        places = [sample.context.index(f"Store {value} in {chain[0]}.")]
        for source, target in itertools.pairwise(chain):
            places.append(sample.context.index(f"Copy {source} to {target}."))
        assert places == sorted(places)


def listed_words(context: str) -> list[str]:
    """The words of the last numbered list of a context."""
    return re.findall(r"\d+\. (.+?)(?= \d+\. |\n)", context.rsplit("List: ", 1)[1])


def test_answers_stand_at_other_places_in_each_sample(tmp_path):
    samples = Ruler(length=2048, samples=6, cache_dir=str(tmp_path)).samples("cwe", WORDS)
    positions = {
        tuple(i for i, word in enumerate(listed_words(s.context)) if word in s.answers)
        for s in samples
    }
    assert len(positions) == 6


def test_solved_examples_are_new_in_each_sample(tmp_path):
    ruler = Ruler(length=2048, samples=4, cache_dir=str(tmp_path))
    for task in ("vt", "cwe"):
        assert len({s.context.split("\n\n")[0] for s in ruler.samples(task, WORDS)}) == 4


def test_cwe_repeats_words_more_where_the_vocabulary_ends(tmp_path):
    ruler = Ruler(length=131072, samples=1, cache_dir=str(tmp_path))
    (sample,) = ruler.samples("cwe", WORDS)
    entries = listed_words(sample.context)
    counts = {word: entries.count(word) for word in sample.answers}
    assert len(set(counts.values())) == 1
    assert next(iter(counts.values())) > 30
    assert sample.extra["length_tokens"] > 0.9 * 131072


def test_seed_length_and_index_give_other_samples(tmp_path):
    contexts = {
        sample.context
        for seed in (1, 2)
        for length in (500, 501)
        for sample in Ruler(length=length, samples=2, seed=seed, cache_dir=str(tmp_path)).samples(
            "niah_single_2", WORDS
        )
    }
    assert len(contexts) == 8


def test_samples_are_kept_and_damaged_files_made_again(tmp_path):
    options = {"length": 400, "samples": 2, "cache_dir": str(tmp_path)}
    first = Ruler(**options).samples("vt", WORDS)
    (file,) = tmp_path.iterdir()
    content = file.read_bytes()
    assert Ruler(**options).samples("vt", WORDS) == first
    for damaged in (content[:-30], b"not json\n", b"", content.replace(b"Store", b"Stare", 1)):
        file.write_bytes(damaged)
        with pytest.warns(UserWarning, match=file.name):
            assert Ruler(**options).samples("vt", WORDS) == first
        assert file.read_bytes() == content


def test_a_haystack_of_ones_own(tmp_path):
    text = tmp_path / "prose.txt"
    text.write_text(
        " ".join(f"Sentence number {i} is here. Dr. No said 3.5 times." for i in range(900))
    )
    ruler = Ruler(length=800, samples=2, haystack=str(text), cache_dir=str(tmp_path / "c"))
    for sample in ruler.samples("niah_single_2", WORDS):
        assert "Sentence number" in sample.context
    record = ruler.provenance("niah_single_2", WORDS)
    assert "haystack" in json.dumps(record)


def test_another_wording(tmp_path):
    own = json.loads((Path("benchmark/ruler/prompts.json")).read_text())
    own["niah"]["needle"] = "One of the special {type} for {key} is: {value}."
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(own))
    options = {"length": 400, "samples": 1, "cache_dir": str(tmp_path / "c")}
    mine = Ruler(**options, prompts=str(path))
    (sample,) = mine.samples("niah_single_2", WORDS)
    assert "One of the special number for" in sample.context
    records = [r.provenance("niah_single_2", WORDS) for r in (mine, Ruler(**options))]
    assert records[0] != records[1]
    own["niah"]["needle"] = "no placeholders"
    path.write_text(json.dumps(own))
    with pytest.raises(UserError, match=r"niah\.needle"):
        Ruler(**options, prompts=str(path)).samples("niah_single_2", WORDS)


@pytest.mark.parametrize(
    ("options", "task", "message"),
    [
        ({"length": 100}, "niah_multiquery", "smallest feasible length"),
        ({"length": "long"}, "vt", "length"),
        ({"lenght": 512}, "vt", "length"),
        ({"samples": 0}, "vt", "samples"),
        ({"lexicon": "klingon"}, "vt", "wonderwords"),
        ({"haystack": "/no/such/file"}, "niah_single_2", "no/such/file"),
        ({"prompts": "/no/such/file"}, "vt", "no/such/file"),
        ({"squad_file": "/no/such/file"}, "qa_1", "no/such/file"),
        ({"source": "/no/such/folder.parquet"}, "vt", "no/such"),
        ({}, "niah_single", "niah_single_1"),
        ({"lexicon": "embedded"}, "cwe", "vt"),
    ],
)
def test_bad_input_is_one_clear_error(options, task, message, tmp_path):
    with pytest.raises(UserError, match=message):
        Ruler(**{"length": 400, "samples": 2, "cache_dir": str(tmp_path)} | options).samples(
            task, WORDS
        )


@pytest.mark.parametrize("content", ["{", '{"data": 3}', "[]", '{"data": [{"paragraphs": [{}]}]}'])
def test_malformed_question_files(content, tmp_path):
    path = tmp_path / "squad.json"
    path.write_text(content)
    with pytest.raises(UserError, match=r"squad\.json"):
        Ruler(length=400, squad_file=str(path), cache_dir=str(tmp_path)).samples("qa_1", WORDS)


def test_dataset_round_trip(tmp_path):
    command = [
        *("--tokenizer", "embedded", "--lengths", "512", "--output", str(tmp_path / "out")),
        *("--samples", "2", "--tasks", "vt", "niah_single_1"),
    ]
    assert create_huggingface_dataset.main(command) == 0
    again = Ruler(source=str(tmp_path / "out"), length=512)
    made = Ruler(length=512, samples=2, lexicon="embedded", cache_dir=str(tmp_path / "c"))
    for task in ("vt", "niah_single_1"):
        read, fresh = again.samples(task, EMBEDDED), made.samples(task, EMBEDDED)
        assert [(s.context, s.question, s.answers) for s in read] == [
            (s.context, s.question, s.answers) for s in fresh
        ]
        assert {s.max_new_tokens for s in read} == {s.max_new_tokens for s in fresh}


def test_the_dataset_command_explains_bad_input(tmp_path, capsys):
    command = ["--tokenizer", "embedded", "--lengths", "64", "--output", str(tmp_path)]
    assert create_huggingface_dataset.main(command) == 2
    shown = capsys.readouterr().err
    assert "length" in shown
    assert len(shown.splitlines()) == 1


def frame(*rows):
    import pandas as pd

    return pd.DataFrame(rows, columns=["task", "answer", "predicted_answer"], dtype=object)


def test_metric_counts_references_in_the_prediction():
    scores = calculate_metrics(
        frame(
            ("vt", ["AB", "CD", "EF", "GH"], "ab and gh"),
            ("vt", ["XX"], "none"),
            ("qa_1", ["Paris", "paris, France"], "It is PARIS."),
            ("qa_1", ["Rome", "Roma"], "Milan"),
            ("niah_single_1", ["12345"], "12\n345"),
            ("niah_single_1", ["12345"], "\x0012345\x00 "),
        )
    )
    assert scores["vt"]["string_match"] == 25.0
    assert scores["qa_1"]["string_match"] == 50.0
    assert scores["niah_single_1"]["string_match"] == 50.0


@pytest.mark.parametrize("prediction", ["", None, float("nan"), "x" * 1_000_000, "\ud800", "\0"])
def test_metric_of_absurd_predictions_is_zero(prediction):
    scores = calculate_metrics(frame(("vt", ["AB"], prediction)))
    assert scores["vt"]["string_match"] == 0


def test_metric_does_not_depend_on_the_order_and_takes_arrays():
    import numpy as np

    rows = [("vt", np.array(["a", "b"], dtype=object), text) for text in ("a", "b a", "")]
    assert calculate_metrics(frame(*rows)) == calculate_metrics(frame(*rows[::-1]))
    assert calculate_metrics(frame(*rows))["vt"]["string_match"] == 50.0
    assert calculate_metrics(frame()) == {}


def test_a_chat_template_is_a_part_of_the_length(tmp_path) -> None:
    """Samples as long as the window of a chat model fit into it, and fill it."""
    chat = AutoTokenizer.from_pretrained(MODEL_PATH)
    chat.chat_template = (
        "{% for m in messages %}a longer line for the system user {{ m['content'] }} end"
        "{% endfor %} assistant answers "
    )
    plain = Ruler(length=1024, samples=2, lexicon="embedded", cache_dir=str(tmp_path))
    for subset in ("niah_single_1", "vt"):
        for sample in plain.samples(subset, chat):
            prompt = encode_prompt(
                chat,
                sample.context,
                sample.question,
                sample.answer_prefix,
                settings=plain.prompt,
                max_new_tokens=sample.max_new_tokens,
                max_positions=1024,
            )
            whole = len(prompt.context_ids) + len(prompt.question_ids) + sample.max_new_tokens
            assert 0.9 * 1024 < whole <= sample.extra["length_tokens"] <= 1024
    assert frame_tokens(chat) > frame_tokens(EMBEDDED) == 1


@pytest.mark.parametrize("unit", ["..", "!?", '."', "a", "Mr. A ", ". ( "])
def test_odd_prose_is_split_in_linear_time(unit):
    """Half a million characters; a run of marks once took time by its square."""
    begin = time.process_time()
    assert " ".join(split_by_rules(unit * (500_000 // len(unit)))).startswith(unit.strip())
    assert time.process_time() - begin < 10


@pytest.mark.parametrize(
    ("option", "content", "message"),
    [
        ("haystack", "a" * 10**6, "at most 20000 are read"),
        ("haystack", "One. " * 10**5 + "x" * 30_000, "at most 20000 are read"),
        (
            "squad_file",
            {"data": [{"paragraphs": [{"context": None, "qas": []}]}]},
            "context is None",
        ),
        (
            "squad_file",
            {
                "data": [
                    {
                        "paragraphs": [
                            {"context": "c", "qas": [{"question": "q", "answers": [{"text": " "}]}]}
                        ]
                    }
                ]
            },
            r"data\[0\]\.paragraphs\[0\]\.qas\[0\]\.answers\[0\]\.text is ' '",
        ),
        (
            "hotpotqa_file",
            [{"question": "q", "answer": None, "context": [["t", ["s"]]]}],
            "answer is None",
        ),
        ("hotpotqa_file", [{"question": "q", "answer": "a", "context": []}], r"context is \[\]"),
        ("prompts", {"noise": ""}, r"lacks the string|no text in the string"),
    ],
)
def test_what_could_never_be_a_sample_is_named(option, content, message, tmp_path):
    text = isinstance(content, str)
    path = tmp_path / ("x.txt" if text else "x.json")
    path.write_text(content if text else json.dumps(content))
    tasks = {"haystack": "niah_single_2", "squad_file": "qa_1", "hotpotqa_file": "qa_2"}
    ruler = Ruler(**{option: str(path), "cache_dir": str(tmp_path)})
    with pytest.raises(UserError, match=message) as error:
        ruler._sources.provenance(task_named(tasks.get(option, "vt")))
    assert path.name in str(error.value)


def test_an_empty_reference_of_a_prepared_dataset_is_refused(tmp_path):
    row = {"context": "c", "question": "q", "answer_prefix": "", "max_new_tokens": 3, "task": "vt"}
    for answer in (["a", ""], [" "]):
        pq.write_table(pa.Table.from_pylist([{**row, "answer": answer}]), tmp_path / "x.parquet")
        with pytest.raises(UserError, match="has an empty reference"):
            Ruler(source=str(tmp_path / "x.parquet")).samples("vt", WORDS)
