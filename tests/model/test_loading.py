"""Loading: what is refused and why, where weights go, quantised weights on a CPU."""

import json
import logging
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from gac.core import Extend
from gac.errors import MemberError
from gac.model.loading import ModelSpec, as_loaded, load_model
from gac.model.runner import CacheUse, ModelRunner


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny checkpoint with tied weights and two stop ids, in bfloat16."""
    path = tmp_path_factory.mktemp("checkpoint") / "tiny"
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=61,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=32,
        tie_word_embeddings=True,
        initializer_range=0.2,
    )
    model = transformers.LlamaForCausalLM(config).to(torch.bfloat16)
    model.generation_config.eos_token_id = [2, 5]
    model.save_pretrained(path)
    return path


@pytest.fixture
def broken(saved: Path, tmp_path: Path) -> Path:
    """A copy of the checkpoint, to be spoilt."""
    return Path(shutil.copytree(saved, tmp_path / "broken"))


def change_config(path: Path, **changes: Any) -> None:
    file = path / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def change_weights(path: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    weights = load_file(path / "model.safetensors")
    change(weights)
    save_file(weights, path / "model.safetensors", {"format": "pt"})


def refusal(spec: ModelSpec) -> str:
    with pytest.raises(MemberError) as caught:
        load_model(spec)
    message = caught.value.message
    assert spec.path in message and "\n" not in message
    return message


def test_loaded_model_describes_itself(saved: Path) -> None:
    stages: list[tuple[str, float]] = []
    loaded = load_model(ModelSpec(str(saved)), lambda *stage: stages.append(stage))
    assert (loaded.dtype, loaded.device.type) == (torch.float32, "cpu")
    assert (loaded.max_length, loaded.num_logits, loaded.num_ids) == (32, 61, 61)
    assert not loaded.is_quantized
    assert not loaded.model.training
    fractions = [fraction for stage, fraction in stages if stage == "weights"]
    assert fractions == sorted(fractions) and fractions[0] == 0.0 and fractions[-1] == 1.0
    assert stages[-1] == ("warm-up", 0.0), "ready is for whoever knows what else is to be done"


def test_dtype_is_respected(saved: Path) -> None:
    assert load_model(ModelSpec(str(saved), dtype="bfloat16")).dtype == torch.bfloat16
    assert "dtype 'int3' is not one of auto, float32" in refusal(
        ModelSpec(str(saved), dtype="int3")
    )


def test_max_model_len_may_only_shorten(saved: Path) -> None:
    assert load_model(ModelSpec(str(saved), max_model_len=8)).max_length == 8
    message = refusal(ModelSpec(str(saved), max_model_len=33))
    assert "max_model_len 33 exceeds the model's 32" in message


def test_num_threads_is_respected(saved: Path) -> None:
    before = torch.get_num_threads()
    try:
        load_model(ModelSpec(str(saved), num_threads=2))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_gpu_memory_is_ignored_without_a_gpu(
    saved: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    memory = {0: "8GiB", 1: "8GiB", "cpu": "1MiB"}
    with caplog.at_level(logging.WARNING, "gac.model.loading"):
        loaded = load_model(ModelSpec(str(saved), max_memory=memory))
    assert (loaded.device.type, loaded.dtype) == ("cpu", torch.float32)
    assert "its max_memory names GPUs and is ignored" in caplog.text
    message = refusal(ModelSpec(str(saved), device="cuda:0"))
    assert "device 'cuda:0' is wanted, but CUDA is not available" in message


def test_cpu_memory_is_passed_on(saved: Path) -> None:
    loaded = load_model(ModelSpec(str(saved), max_memory={"cpu": "1GiB"}))
    assert loaded.device.type == "cpu"


def test_missing_directory_is_named(tmp_path: Path) -> None:
    assert "no such directory" in refusal(ModelSpec(str(tmp_path / "nowhere")))


def test_hub_name_that_cannot_be_had_is_named() -> None:
    message = refusal(ModelSpec("some-org/no-such-model"))
    assert "no such directory, nor can it be had from the Hub" in message


def test_weights_cut_in_half_are_refused(broken: Path) -> None:
    file = broken / "model.safetensors"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    assert "a weight file is damaged or incomplete" in refusal(ModelSpec(str(broken)))


def test_absent_weight_file_is_refused(broken: Path) -> None:
    (broken / "model.safetensors").unlink()
    assert "no file named model.safetensors" in refusal(ModelSpec(str(broken)))


def test_missing_weights_are_refused(broken: Path) -> None:
    change_weights(broken, lambda weights: weights.pop("model.layers.1.mlp.up_proj.weight"))
    message = refusal(ModelSpec(str(broken)))
    assert message.endswith("the checkpoint lacks the weights model.layers.1.mlp.up_proj.weight")


def test_missing_head_is_refused_where_it_is_not_tied(broken: Path) -> None:
    change_config(broken, tie_word_embeddings=False)
    assert "lacks the weights lm_head.weight" in refusal(ModelSpec(str(broken)))


def test_weights_of_another_shape_are_refused(broken: Path) -> None:
    name = "model.layers.1.mlp.up_proj.weight"
    change_weights(broken, lambda weights: weights.update({name: torch.zeros(3, 3)}))
    message = refusal(ModelSpec(str(broken)))
    assert message.endswith(
        f"config.json does not fit the weights: {name} is 128 x 64 by config.json but 3 x 3 in "
        "the checkpoint"
    )


def test_sizes_in_the_config_that_do_not_fit_are_refused(broken: Path) -> None:
    change_config(broken, vocab_size=70, intermediate_size=64)
    assert refusal(ModelSpec(str(broken))).endswith(
        "model.embed_tokens.weight is 70 x 64 by config.json but 61 x 64 in the checkpoint, "
        "and 6 more do not fit"
    )


def test_a_size_that_is_no_number_is_one_clear_line(broken: Path) -> None:
    change_config(broken, hidden_size="x")
    message = refusal(ModelSpec(str(broken)))
    assert "Validation error for field 'hidden_size':" in message and "int" in message


def test_weights_without_a_place_are_warned_of(
    broken: Path, caplog: pytest.LogCaptureFixture
) -> None:
    change_config(broken, num_hidden_layers=1)
    with caplog.at_level(logging.WARNING, "gac.model.loading"):
        load_model(ModelSpec(str(broken)))
    assert "no place for 9 weights of the checkpoint, such as model.layers.1." in caplog.text


@pytest.mark.parametrize("text", ['{"a": 1,\n}', "[]", "\ufffd\x00"])
def test_a_damaged_config_is_named(broken: Path, text: str) -> None:
    (broken / "config.json").write_text(text)
    message = refusal(ModelSpec(str(broken)))
    assert f"{broken / 'config.json'} is not " in message


def test_a_model_that_writes_more_ids_than_it_reads_is_refused(saved: Path) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(saved, dtype=torch.float32)
    model.lm_head = torch.nn.Linear(64, 70)
    with pytest.raises(MemberError, match="m: it gives 70 logits, but has only 61 embeddings"):
        as_loaded(model, "m")


def test_unknown_architecture_is_named(broken: Path) -> None:
    change_config(broken, model_type="quux", architectures=["Quux"])
    message = refusal(ModelSpec(str(broken)))
    assert "does not know its architecture" in message and "quux" in message


def test_model_of_another_kind_is_refused(broken: Path) -> None:
    (broken / "config.json").write_text(json.dumps({"model_type": "clip"}))
    assert "not a causal language model" in refusal(ModelSpec(str(broken)))


def test_remote_code_is_not_run(broken: Path) -> None:
    maps = {"AutoConfig": "code.Config", "AutoModelForCausalLM": "code.Model"}
    change_config(broken, model_type="quux", auto_map=maps)
    (broken / "code.py").write_text("raise SystemExit('was run')")
    assert "trust_remote_code: true" in refusal(ModelSpec(str(broken)))


# bitsandbytes 0.50 compiles its optimiser with the deprecated torch.jit when it is imported.
@pytest.mark.filterwarnings("ignore:`torch.jit.*:DeprecationWarning")
@pytest.mark.parametrize("quantization", ["8bit", "4bit"])
def test_quantised_weights_generate_on_a_cpu(saved: Path, quantization: Any) -> None:
    loaded = load_model(ModelSpec(str(saved), device="cpu", quantization=quantization))
    assert loaded.is_quantized
    assert loaded.model.model.layers[0].mlp.up_proj.weight.dtype in (torch.int8, torch.uint8)
    runner = ModelRunner(loaded, max_tokens=100, max_sequences=2)
    assert runner.cache_use is CacheUse.BATCHED
    ids = [3, 1, 4]
    runner.extend([Extend(0, 0, tuple(ids), ()), Extend(1, 0, (7,), ())])
    for _ in range(5):
        items = [Extend(0, len(ids), (), (len(ids),)), Extend(1, 0, (8, 9), (1, 2))]
        logits, _other = runner.extend(items)
        expected = loaded.model(torch.tensor([ids])).logits[0, -1].detach()
        assert float((logits[0] - expected).std() / expected.std()) < 0.1
        ids.append(int(logits[0].argmax()))
        runner.extend([Extend(0, len(ids) - 1, (ids[-1],), ())])


def test_plain_load_is_silent(saved: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_model(ModelSpec(str(saved)))
    assert "Loading weights" not in capfd.readouterr().err


def test_sizes_of_weights_and_cache_are_those_of_the_tensors(saved: Path) -> None:
    """The tied embeddings are held once, and in float32 where they run on a CPU."""
    loaded = load_model(ModelSpec(str(saved), dtype="float32"))
    stored = load_file(saved / "model.safetensors").values()
    assert loaded.num_bytes == pytest.approx(sum(4 * one.numel() for one in stored), rel=0.01)
    runner = ModelRunner(loaded, max_tokens=40, max_sequences=4)
    runner.extend([Extend(0, 0, (1, 2, 3), (3,))])
    assert runner.kv_bytes == 40 * 2 * 2 * 64 * 4  # slots, K and V, layers, width, bytes
    roomy = ModelRunner(loaded, max_tokens=4000, max_sequences=4)
    roomy.extend([Extend(0, 0, (1, 2, 3), (3,))])
    assert roomy.kv_bytes == 4 * 32 * 2 * 2 * 64 * 4  # never more than full rows
