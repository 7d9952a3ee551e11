"""Compares `edgewen eval` with lm-evaluation-harness, item by item.

Both score the same checkpoints on the same items: lm-evaluation-harness with its own `hf` model class and its own task
definitions (only the place of the data is overridden, so that nothing is downloaded), edgewen on its float path
(`--model DIRECTORY`). Compared are the log-likelihood of every choice, whether greedy decoding would write it, and the
figures. The script fails if a log-likelihood differs by more than the tolerance or an accuracy differs at all.

    pip install "lm-eval[hf]==0.4.13"      # with a CPU build of torch
    python python/lm_eval_agreement.py --edgewen target/release/edgewen \
        --model M --wnli WNLI/dev.tsv --arc ARC-Easy-Test.jsonl [--stories TEXT] [--qwen-tokenizer DIR] --output FOLDER

The tokenizer is handed to lm-evaluation-harness as tokenizer.json says it (`PreTrainedTokenizerFast`). Left alone,
transformers 5 makes a `Qwen2Tokenizer` of any Qwen2 checkpoint, which replaces the normalizer and the pre-tokenizer
of tokenizer.json: with a Llama-like vocabulary that loses spaces and line breaks. For checkpoints with Qwen's own
tokenizer there is no difference; `--qwen-tokenizer` adds such a one, tiny and random, and leaves the choice to
lm-evaluation-harness.
"""

import argparse
import csv
import json
import math
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", TOKENIZERS_PARALLELISM="false", DISABLE_MULTIPROC="1")

import lm_eval
import torch
import transformers
import yaml
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

TASKS = Path(lm_eval.__file__).parent / "tasks"
DEFINITIONS = {
    "wnli": TASKS / "glue/wnli/default.yaml",
    "arc": TASKS / "arc/arc_easy.yaml",
    "piqa": TASKS / "piqa/piqa.yaml",
    "lambada": TASKS / "lambada/lambada_openai.yaml",
}


def jsonl(path):
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()]


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def items(arguments, folder):
    """For each task: the file that edgewen reads, and the rows that lm-evaluation-harness's data set has."""
    result = {}
    with open(arguments.wnli, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    wnli = [{**row, "label": int(row["label"]), "idx": int(row["index"])} for row in rows]
    result["wnli"] = (Path(arguments.wnli), wnli)
    arc = jsonl(arguments.arc)
    hub = [
        {
            "id": row["id"],
            "question": row["question"]["stem"],
            "choices": {key: [choice[key] for choice in row["question"]["choices"]] for key in ("text", "label")},
            "answerKey": row["answerKey"],
        }
        for row in arc
    ]
    result["arc"] = (Path(arguments.arc), hub)
    # No PIQA here: its form with contents of ARC, the right answer and the one after it.
    piqa = []
    for row in hub[:200]:
        texts, right = row["choices"]["text"], row["choices"]["label"].index(row["answerKey"])
        pair = [texts[right], texts[(right + 1) % len(texts)]]
        label = len(piqa) % 2
        piqa.append({"goal": row["question"], "sol1": pair[label], "sol2": pair[1 - label], "label": label})
    write_jsonl(folder / "piqa.jsonl", piqa)
    result["piqa"] = (folder / "piqa.jsonl", piqa)
    if arguments.stories:
        text = Path(arguments.stories).read_text(encoding="utf-8").replace("<|endoftext|>", "\n")
        passages = [line.strip() for line in text.splitlines() if line.strip().count(" ") > 8]
        lambada = [{"text": line} for line in passages]
        write_jsonl(folder / "lambada.jsonl", lambada)
        result["lambada"] = (folder / "lambada.jsonl", lambada)
    return result


def definitions(rows, folder, limit):
    """lm-evaluation-harness's definitions with local data. Returns the folder to look for them in."""
    tasks = folder / "tasks"
    tasks.mkdir()
    for task, (_, data) in rows.items():
        write_jsonl(folder / f"{task}.hub.jsonl", data[:limit])
        definition = {
            "include": str(DEFINITIONS[task]),
            "task": f"edgewen_{task}",
            "dataset_path": "json",
            "dataset_name": None,
            "dataset_kwargs": {"data_files": {"test": str(folder / f"{task}.hub.jsonl")}},
            "training_split": None,
            "validation_split": None,
            "test_split": "test",
            "tag": [],
        }
        (tasks / f"{task}.yaml").write_text(yaml.safe_dump(definition))
    return tasks


def random_qwen(folder, tokenizer):
    """A tiny random checkpoint with Qwen's own tokenizer."""
    torch.manual_seed(1)
    config = transformers.Qwen2Config(
        vocab_size=151936, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=256, initializer_range=0.3, tie_word_embeddings=True,
    )  # fmt: skip
    path = folder / "random-qwen"
    transformers.Qwen2ForCausalLM(config).save_pretrained(path)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(Path(tokenizer) / name, path / name)
    return path


def run_lm_eval(model, own_tokenizer, tasks, names, dtype):
    """For each task: the samples in the order of the data, and the figures."""
    tokenizer = None if own_tokenizer else transformers.PreTrainedTokenizerFast.from_pretrained(model)
    lm = HFLM(pretrained=str(model), tokenizer=tokenizer, dtype=dtype, device="cpu", batch_size=16)
    print(f"  lm-eval: {type(lm.tokenizer).__name__}, at most {lm.max_length} tokens, {dtype}", flush=True)
    manager = TaskManager(include_path=str(tasks), include_defaults=False)
    results = lm_eval.simple_evaluate(
        model=lm,
        tasks=[f"edgewen_{name}" for name in names],
        task_manager=manager,
        log_samples=True,
        bootstrap_iters=1000,
    )
    samples = {}
    for name in names:
        found = sorted(results["samples"][f"edgewen_{name}"], key=lambda sample: sample["doc_id"])
        samples[name] = (found, results["results"][f"edgewen_{name}"])
    return samples, type(lm.tokenizer).__name__


def run_edgewen(binary, model, task, path, limit, output):
    verb = ["wnli", "--protocol", "lm-eval"] if task == "wnli" else ["tasks", "--task", task]
    command = [binary, "eval", *verb, "--model", model, "--file", path, "--output", output, "--restart", "--json"]
    command += ["--limit", limit] if limit else []
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"edgewen failed: {done.stderr}")
    lines = jsonl(output)
    return lines[1:], json.loads(done.stdout)


def compare(task, samples, lines):
    """One record an item."""
    assert len(samples) == len(lines), f"{task}: {len(samples)} items in lm-eval, {len(lines)} in edgewen"
    for sample, line in zip(samples, lines):
        theirs = [(float(value), bool(greedy)) for value, greedy in sample["filtered_resps"]]
        if line["kind"] == "choice":
            ours = list(zip(line["log_likelihoods"], line["greedy"]))
            figures = {"acc": line["correct"], "acc_norm": line["correct_norm"]}
        else:
            ours = [(line["log_likelihood"], line["correct"])]
            figures = {"acc": line["correct"]}
        assert len(ours) == len(theirs)
        yield {
            "line": line["line"],
            "edgewen": [value for value, _ in ours],
            "lm_eval": [value for value, _ in theirs],
            "difference": max(abs(a - b) for (a, _), (b, _) in zip(ours, theirs)),
            "greedy_differs": sum(a != b for (_, a), (_, b) in zip(ours, theirs)),
            "figures_differ": [
                name for name, value in figures.items() if name in sample and bool(sample[name]) != value
            ],
            "cut": line["cut"],
        }


def kept(model, task, record):
    """What of an item goes to the file: log-likelihoods rounded to a hundredth of the tolerance."""
    rounded = {who: [round(value, 5) for value in record[who]] for who in ("edgewen", "lm_eval")}
    rest = {key: record[key] for key in ("greedy_differs", "figures_differ", "cut") if record[key]}
    return {"model": model, "task": task, "line": record["line"], **rounded, **rest}


def summary(task, records, figures, theirs):
    differences = sorted(record["difference"] for record in records)
    ours = {figure["metric"]: figure for figure in figures}
    compared = {}
    for metric, figure in ours.items():
        value = theirs.get(f"{metric},none")
        if value is not None:
            error = theirs.get(f"{metric}_stderr,none")
            compared[metric] = {
                "edgewen": figure["value"],
                "lm_eval": value,
                "edgewen_standard_error": figure["standard_error"],
                "lm_eval_standard_error": error if isinstance(error, float) and math.isfinite(error) else None,
            }
    return {
        "task": task,
        "items": len(records),
        "requests": sum(len(record["edgewen"]) for record in records),
        "largest_difference": differences[-1],
        "mean_difference": sum(differences) / len(differences),
        "greedy_differs": sum(record["greedy_differs"] for record in records),
        "items_with_another_answer": sum(bool(record["figures_differ"]) for record in records),
        "items_cut_to_the_context": sum(record["cut"] > 0 for record in records),
        "figures": compared,
    }


def agrees(result, tolerance):
    if result["largest_difference"] > tolerance or result["items_with_another_answer"]:
        return False
    exact = [figure for metric, figure in result["figures"].items() if metric != "perplexity"]
    return all(math.isclose(figure["edgewen"], figure["lm_eval"], abs_tol=1e-12) for figure in exact)


def table(report):
    heading = ["model", "task", "items", "requests", "cut", "largest difference", "mean", "other answers"]
    heading += [f"{name}: {who}" for name in ("acc", "acc_norm") for who in ("edgewen", "lm-eval")]
    lines = [f"| {' | '.join(heading)} |", f"|---|---|{'--:|' * (len(heading) - 2)}"]
    for result in report["results"]:
        found = [result["figures"].get(name, {}) for name in ("acc", "acc_norm")]
        figures = [figure.get(who) for figure in found for who in ("edgewen", "lm_eval")]
        cells = [result[name] for name in ("model", "task", "items", "requests", "items_cut_to_the_context")]
        cells += [f"{result[name]:.1e}" for name in ("largest_difference", "mean_difference")]
        cells += [result["items_with_another_answer"], *("" if value is None else f"{value:.6f}" for value in figures)]
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def page(report):
    versions = ", ".join(f"{name} {version}" for name, version in report["versions"].items())
    largest = max(result["largest_difference"] for result in report["results"])
    requests = sum(result["requests"] for result in report["results"])
    return (
        "# Agreement with lm-evaluation-harness\n\n"
        f"The largest difference of {requests:,} log-likelihoods is {largest:.1e} nats; "
        f"{report['tolerance']:g} is allowed. Log-likelihoods are sums over the tokens of a choice. *Cut* items did not "
        "fit the context and lost their beginning. *Other answers* are items that only one of both counts as right.\n\n"
        f"{table(report)}\n"
        "`piqa` is ARC's content in PIQA's form, `lambada` the lines of a story text in LAMBADA's form; both only "
        "compare programs. `random-qwen` is a tiny random model with Qwen2.5's genuine tokenizer.\n\n"
        f"{versions}, {report['dtype']}; edgewen {report['commit']} on its float path; {report['machine']}.\n\n"
        f"```\n{report['command']}\n```\n"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edgewen", required=True, help="the binary")
    parser.add_argument("--model", action="append", default=[], help="a checkpoint directory; may be repeated")
    parser.add_argument("--wnli", required=True, help="GLUE's WNLI dev.tsv")
    parser.add_argument("--arc", required=True, help="ARC-Easy as AI2's JSONL")
    parser.add_argument("--stories", help="a text whose lines become items of LAMBADA's form")
    parser.add_argument("--qwen-tokenizer", help="directory with Qwen2.5's tokenizer.json and tokenizer_config.json")
    parser.add_argument("--limit", type=int, help="only the first items of each task")
    parser.add_argument("--qwen-limit", type=int, default=300, help="the same for the random checkpoint (%(default)s)")
    parser.add_argument("--dtype", default="float32", help="of lm-evaluation-harness's model (%(default)s)")
    parser.add_argument("--tolerance", type=float, default=1e-3, help="of a log-likelihood (%(default)s)")
    parser.add_argument("--machine", default=platform.processor(), help="what to call this machine")
    parser.add_argument("--commit", default="unknown", help="edgewen's commit")
    parser.add_argument("--output", type=Path, required=True, help="folder of the three files lm-eval-*")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.output.mkdir(parents=True, exist_ok=True)

    words = [Path(word).name if "/" in word else word for word in sys.argv[1:]]
    report = {
        "commit": arguments.commit,
        "machine": arguments.machine,
        "command": shlex.join(["python", "python/lm_eval_agreement.py", *words]),
        "versions": {name: metadata.version(name) for name in ("lm_eval", "transformers", "torch", "datasets")},
        "dtype": arguments.dtype,
        "tolerance": arguments.tolerance,
        "results": [],
    }
    records = []
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        models = [(Path(model), False, arguments.limit) for model in arguments.model]
        if arguments.qwen_tokenizer:
            limits = [limit for limit in (arguments.limit, arguments.qwen_limit) if limit]
            models.append((random_qwen(scratch, arguments.qwen_tokenizer), True, min(limits)))
        for number, (model, own_tokenizer, limit) in enumerate(models):
            print(model.name, flush=True)
            folder = scratch / str(number)
            folder.mkdir()
            rows = items(arguments, folder)
            started = time.time()
            tasks = definitions(rows, folder, limit)
            found, tokenizer = run_lm_eval(model, own_tokenizer, tasks, list(rows), arguments.dtype)
            print(f"  lm-eval: {time.time() - started:.0f} s", flush=True)
            for task, (path, _) in rows.items():
                started = time.time()
                output = folder / f"{task}.ours.jsonl"
                lines, printed = run_edgewen(arguments.edgewen, model, task, path, limit, output)
                samples, theirs = found[task]
                compared = list(compare(task, samples, lines))
                result = {"model": model.name, "tokenizer": tokenizer}
                result.update(summary(task, compared, printed["figures"], theirs))
                result["agrees"] = agrees(result, arguments.tolerance)
                report["results"].append(result)
                records += [kept(model.name, task, record) for record in compared]
                print(f"  {task}: {json.dumps(result)}, {time.time() - started:.0f} s", flush=True)
    write_jsonl(arguments.output / "lm-eval-agreement-items.jsonl", records)
    (arguments.output / "lm-eval-agreement.json").write_text(json.dumps(report, indent=1) + "\n")
    (arguments.output / "lm-eval-agreement.md").write_text(page(report))
    print(table(report))
    if not all(result["agrees"] for result in report["results"]):
        sys.exit("edgewen and lm-evaluation-harness do not agree")


if __name__ == "__main__":
    main()
