"""What kvpress keeps and answers; runs in an environment of its own, with nothing of ours.

    python kvpress_side.py JOB.json OUT_FOLDER

A job names a folder with the model, prompts as tokens, and presses by class and arguments.  Writes
``kept.npz`` (bool (heads, keys) for each press, prompt and layer) and ``answers.json``.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import kvpress
import numpy as np
import torch
from transformers import AutoModelForCausalLM, DynamicCache, PreTrainedTokenizerFast
from transformers.utils.logging import disable_progress_bar


def build(press: dict[str, Any]) -> Any:
    """A press from its class and arguments, which may hold another press."""
    arguments = {
        name: build(value) if isinstance(value, dict) else value
        for name, value in press["arguments"].items()
    }
    return getattr(kvpress, press["class"])(**arguments)


def kept_positions(dense: torch.Tensor, left: torch.Tensor, module: Any) -> np.ndarray:
    """Which keys are left: bool (heads, keys).

    Keys that are gone are found by comparing what is left with what was there, bit by bit; those
    that are only masked stand in the attention module.
    """
    heads, count = dense.shape[1], dense.shape[2]
    masked = getattr(module, "masked_key_indices", None)
    if masked is not None:
        kept = np.ones((heads, count), dtype=bool)
        kept[masked[1].numpy(), masked[2].numpy()] = False
        return kept
    kept = np.zeros((heads, count), dtype=bool)
    for head in range(heads):
        places = {row.tobytes(): place for place, row in enumerate(dense[0, head].numpy())}
        kept[head, [places[row.tobytes()] for row in left[0, head].numpy()]] = True
    return kept


def main() -> None:
    """Run a job."""
    disable_progress_bar()
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    torch.set_num_threads(job["threads"])
    folder = Path(job["model"])
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    pipeline = kvpress.KVPressTextGenerationPipeline(model=model, tokenizer=tokenizer)
    attentions = [layer.self_attn for layer in model.model.layers]
    kept: dict[str, np.ndarray] = {}
    answers = []
    with torch.inference_mode():
        for number, prompt in enumerate(job["prompts"]):
            context = torch.tensor([prompt["context"]])
            question = torch.tensor([prompt["question"]])
            dense = DynamicCache()
            model.model(input_ids=context, past_key_values=dense)
            for label, wanted in job["presses"].items():
                press = build(wanted)
                model.set_attn_implementation("eager" if wanted["eager"] else "sdpa")
                for module in attentions:
                    module.masked_key_indices = None
                start = time.process_time()
                cache = DynamicCache()
                with press(model):
                    model.model(input_ids=context, past_key_values=cache)
                seconds = time.process_time() - start
                whole = dense
                if wanted["eager"]:  # its keys differ in the last digits
                    whole = DynamicCache()
                    model.model(input_ids=context, past_key_values=whole)
                for layer, module in enumerate(attentions):
                    rows = whole.layers[layer].keys, cache.layers[layer].keys
                    kept[f"{label}/{number}/{layer}"] = kept_positions(*rows, module)
                start = time.process_time()
                try:
                    text = pipeline.generate_answer(
                        question, cache, context.shape[1], prompt["max_new_tokens"]
                    )
                except RuntimeError as error:  # layers of different lengths
                    text = None
                    print(f"{label} cannot answer: {error}", file=sys.stderr)
                seconds += time.process_time() - start
                answers.append({"press": label, "prompt": number, "text": text, "seconds": seconds})
                print(number, label, repr(text), f"{seconds:.1f} s", file=sys.stderr)
    out = Path(sys.argv[2])
    np.savez_compressed(out / "kept.npz", **kept)
    (out / "answers.json").write_text(json.dumps(answers), encoding="utf-8")


if __name__ == "__main__":
    main()
