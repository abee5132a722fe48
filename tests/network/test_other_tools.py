"""PEFT and Transformers' Trainer take the model as it is; the rest of the interface is in `test_interface.py`."""

import copy

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import DataCollatorForLanguageModeling, Trainer, TrainingArguments

import dlmlab as dl
from dlmlab.decode import autoregressive
from dlmlab.network.checkpoint import save
from dlmlab.network.config import LLaDAConfig
from dlmlab.network.model import LLaDAModelLM
from dlmlab.task.layout import encode_prompt
from dlmlab.task.tasks import make_problem
from dlmlab.task.tokenizer import build_tokenizer
from tests.network.test_interface import SPECIAL, labels_of
from tests.network.test_model import close
from tests.tiny import SIZES, one_thread, tiny_ids, tiny_model  # noqa: F401 (a fixture)

pytestmark = pytest.mark.usefixtures("one_thread")
LORA = LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj", "v_proj", "ff_proj"], r=2, init_lora_weights=False)


def adapted(attention: str = "full") -> PeftModel:
    torch.manual_seed(0)
    return get_peft_model(tiny_model(attention, **SPECIAL), copy.deepcopy(LORA)).eval()


# ------------------------------------------------------------------------------------------------------------- PEFT


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("attention", ["full", "causal", "block:3"])
def test_an_adapter_learns_and_nothing_else_does(attention, checkpointing):
    model, ids = adapted(attention).train(), tiny_ids()
    if checkpointing:
        model.gradient_checkpointing_enable()
        model.enable_input_require_grads()
    out = model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels_of(ids))
    assert close(out.loss, model.get_base_model().loss(out.logits, labels_of(ids)))
    out.loss.backward()
    for name, weight in model.named_parameters():
        assert ("lora_" in name) == (weight.grad is not None and bool((weight.grad != 0).any())), name


def test_all_linear_layers_but_the_head_are_found():
    model = get_peft_model(tiny_model(), LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear", r=2))
    names = {name.split(".lora_")[0].split(".")[-1] for name, _ in model.named_parameters() if ".lora_" in name}
    assert names == {"q_proj", "k_proj", "v_proj", "attn_out", "ff_proj", "up_proj", "ff_out"}
    assert not any("lora_" in n for n, _ in model.get_base_model().get_output_embeddings().named_parameters())


def test_an_adapter_is_saved_loaded_and_merged(tmp_path):
    model, ids = adapted(), tiny_ids()
    before, plain = model(input_ids=ids).logits, tiny_model(**SPECIAL)
    model.save_pretrained(tmp_path / "adapter")
    again = PeftModel.from_pretrained(copy.deepcopy(plain), tmp_path / "adapter").eval()
    assert torch.equal(again(input_ids=ids).logits, before) and not close(plain(ids).logits, before, atol=0.1)
    merged = again.merge_and_unload()
    assert type(merged) is LLaDAModelLM and merged.state_dict().keys() == plain.state_dict().keys()
    assert close(merged(ids).logits, before, atol=1e-4)


def test_a_merged_model_is_a_checkpoint_of_ours(tmp_path):
    tokenizer = build_tokenizer()
    ids = {"mask_token_id": tokenizer.mask_token_id, "eos_token_id": tokenizer.eos_token_id}
    model = LLaDAModelLM(LLaDAConfig(**SIZES | {"vocab_size": len(tokenizer)} | ids))
    merged = get_peft_model(model, copy.deepcopy(LORA)).merge_and_unload().eval()
    save(merged, tokenizer, tmp_path)
    assert torch.equal(dl.load(tmp_path).model(tiny_ids()).logits, merged(tiny_ids()).logits)


def test_an_adapted_model_generates_if_it_is_causal():
    ids = tiny_ids(2, 4).clamp(min=2)
    model = adapted("causal")
    written = model.generate(input_ids=ids, max_new_tokens=6, do_sample=False)
    ours = autoregressive.sample(model.merge_and_unload(), ids, gen_length=6).ids
    assert torch.equal(written, ours[:, : written.shape[1]])
    with pytest.raises(ValueError, match="dlmlab.sampling.sample"):
        adapted().generate(input_ids=ids, max_new_tokens=6)


# ---------------------------------------------------------------------------------------------------------- Trainer


def trainer(model, rows, folder, *, batch: int = 2, parts: int = 1) -> Trainer:
    arguments = TrainingArguments(
        folder,
        max_steps=2,
        per_device_train_batch_size=batch // parts,
        gradient_accumulation_steps=parts,
        learning_rate=1e-2,
        report_to=[],
        disable_tqdm=True,
        logging_steps=1,
        use_cpu=True,
    )
    return Trainer(model, arguments, train_dataset=rows, eval_dataset=rows)


def rows_of(n: int = 8) -> list[dict]:
    ids = tiny_ids(n)
    return [{"input_ids": a, "labels": b} for a, b in zip(ids, labels_of(ids), strict=True)]


def losses(trained: Trainer) -> list[float]:
    return [entry["loss"] for entry in trained.state.log_history if "loss" in entry]


@pytest.mark.parametrize("adapter", [False, True])
@pytest.mark.parametrize("attention", ["full", "causal"])
def test_the_trainer_learns_evaluates_and_saves(attention, adapter, tmp_path):
    model = adapted(attention) if adapter else tiny_model(attention, **SPECIAL)
    trained, before = trainer(model, rows_of(), tmp_path), copy.deepcopy(model.state_dict())
    start = trained.evaluate()["eval_loss"]
    trained.train()
    assert trained.evaluate()["eval_loss"] < start and len(losses(trained)) == 2
    changed = {name for name, weight in model.state_dict().items() if not torch.equal(weight, before[name])}
    assert changed == {name for name in before if not adapter or "lora_" in name}
    trained.save_model(tmp_path / "last")
    assert (tmp_path / "last" / ("adapter_model.safetensors" if adapter else "model.safetensors")).is_file()


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("attention", ["full", "causal"])
def test_the_loss_of_a_step_is_that_of_its_batch_in_parts_or_not(attention, parts, tmp_path):
    ids = tiny_ids()
    labels = torch.full_like(ids, -100)
    labels[0, :2], labels[1] = (
        ids[0, :2],
        ids[1],
    )  # so that a mean of means, or a count with column 0, is another number
    model, rows = tiny_model(attention), [{"input_ids": a, "labels": b} for a, b in zip(ids, labels, strict=True)]
    expected = float(model(ids, labels=labels).loss.detach())
    trained = trainer(model, rows, tmp_path, parts=parts)
    trained.train()
    assert losses(trained)[0] == pytest.approx(expected, rel=1e-4)


def test_transformers_own_collator_makes_inputs_and_labels_of_diffusion(tmp_path):
    tokenizer = build_tokenizer()
    model = LLaDAModelLM(
        LLaDAConfig(
            **SIZES | {"vocab_size": len(tokenizer), "max_sequence_length": 96}, mask_token_id=tokenizer.mask_token_id
        )
    )
    rows = [{"input_ids": encode_prompt(tokenizer, make_problem(seed).question)} for seed in range(4)]
    trained = trainer(model, rows, tmp_path)
    trained.data_collator = DataCollatorForLanguageModeling(tokenizer, mlm=True, mlm_probability=0.5)
    trained.train()
    assert len(losses(trained)) == 2 and all(0 < loss < 20 for loss in losses(trained))
