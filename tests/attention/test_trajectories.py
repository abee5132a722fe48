"""Trajectories: the states are those of the decoders, their sums those of a plain forward on each state alone."""

import pytest
import torch

from dlmlab.attention import sinks, trajectories
from dlmlab.decode import autoregressive
from dlmlab.decode.commit import Threshold
from dlmlab.decode.sampling import Sampler
from dlmlab.task.tokenizer import build_tokenizer
from tests.tiny import SIZES, one_thread, tiny_ids, tiny_model  # noqa: F401 (a fixture)

pytestmark = pytest.mark.usefixtures("one_thread")
N, H, MASK, NEVER = SIZES["n_layers"], SIZES["n_heads"], 0, 49
PROMPT = [7, 3, 9, 4, 11]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def model_that_notes(attention="full", eos_id=NEVER):
    """Make a tiny model and the list of the ids that went through it."""
    model, seen = tiny_model(attention, eos_token_id=eos_id), []
    model.register_forward_pre_hook(lambda module, args: seen.append(args[0].clone()))
    return model, seen


def close(a, b) -> None:
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4)


# ------------------------------------------------------------------------------------------------ denoising


@pytest.mark.parametrize(
    "prompt, sampler",
    [
        (PROMPT, None),
        (PROMPT, Sampler(commit=Threshold(0.05), block_length=4)),
        ([7, MASK, 9, MASK], Sampler(temperature=1.0)),
    ],
    ids=["one a forward", "threshold in blocks", "masks in the prompt"],
)
def test_denoising_reads_the_very_states_that_the_decoder_saw(prompt, sampler):
    model, seen = model_that_notes()
    t = trajectories.denoising(model, prompt, gen_length=8, sampler=sampler, generator=seeded())
    assert torch.equal(t.ids, torch.cat(seen[:-1]))  # the last forward reads all states at once
    S, L = t.ids.shape
    assert L == len(prompt) + 8 and t.visible.all() and t.sums.shape == (S, N, H, L)
    assert t.ids[0].tolist() == prompt + [MASK] * 8
    for s in range(S):
        close(t.sums[s], sinks.received(model, t.ids[s : s + 1])[:, 0])
    close(t.mass.sum(1), torch.full((S,), float(L)))
    close(t.mass * N * H, sinks.attention_mass(t.sums.transpose(0, 1)))


def test_a_denoising_state_is_never_unmasked_again():
    t = trajectories.denoising(tiny_model(eos_token_id=NEVER), PROMPT, gen_length=8)
    masked = (t.ids == MASK).sum(1)
    assert masked.tolist() == [8, 7, 6, 5, 4, 3, 2, 1]
    kept = t.ids[:-1] != MASK
    assert torch.equal(t.ids[1:][kept], t.ids[:-1][kept])


# ------------------------------------------------------------------------------------------------ generation


def test_generation_reads_every_prefix_as_a_plain_forward_would():
    model, _ = model_that_notes("causal")
    t, P = trajectories.generation(model, PROMPT, gen_length=6), len(PROMPT)
    S, L = t.ids.shape
    assert (S, L) == (6, P + 5) and t.visible.sum(1).tolist() == list(range(P, P + S))
    for s in range(S):
        prefix = t.ids[s : s + 1, : P + s]
        assert t.visible[s, : P + s].all() and (t.ids[s, P + s :] == MASK).all()
        close(t.sums[s, ..., : P + s], sinks.received(model, prefix)[:, 0])
        assert not t.sums[s, ..., P + s :].any()
    close(t.mass.sum(1), torch.arange(P, P + S).float())


def test_generation_ends_with_the_prefix_that_predicted_the_end_mark():
    free = autoregressive.sample(tiny_model("causal", eos_token_id=NEVER), [PROMPT], gen_length=6).ids[0]
    eos_id = int(free[len(PROMPT) + 2])
    wanted = free[len(PROMPT) :].tolist().index(eos_id) + 1  # one state for each token up to the end mark
    model, seen = model_that_notes("causal", eos_id)
    t = trajectories.generation(model, PROMPT, gen_length=6)
    assert len(t.ids) == wanted and t.ids[-1].tolist() == free[: len(PROMPT) + wanted - 1].tolist()
    assert len(seen) == wanted + 1  # the decoder's forwards, and one that reads all prefixes
    for s in range(wanted - 1):
        with torch.no_grad():
            logits = model(t.ids[s : s + 1, : len(PROMPT) + s]).logits[0, -1]
        logits[MASK] = float("-inf")
        assert int(logits.argmax()) == int(t.ids[-1, len(PROMPT) + s])  # state s predicted answer token s


# ------------------------------------------------------------------------------------------------ renoising


def test_renoising_masks_what_it_may_anew_for_every_draw():
    model, x0 = tiny_model(), tiny_ids(1, 20)[0].clamp(min=1)
    before, maskable = x0.clone(), torch.arange(20) >= 6
    times = (0.0, 0.5, 1.0)
    clean, half, full = trajectories.renoising(model, x0, times, draws=50, maskable=maskable, generator=seeded())
    assert torch.equal(x0, before)
    assert torch.equal(clean.ids, x0.expand(50, -1)) and torch.equal(full.ids == MASK, maskable.expand(50, -1))
    hidden = half.ids == MASK
    assert not hidden[:, :6].any() and torch.equal(half.ids[~hidden], x0.expand(50, -1)[~hidden])
    assert float(hidden[:, 6:].float().mean()) == pytest.approx(0.5, abs=0.06)
    assert len({tuple(row) for row in hidden.tolist()}) > 40
    assert half.sums.shape == (50, N, H, 20) and half.visible.dtype == torch.bool and half.visible.all()
    close(half.sums.transpose(0, 1), sinks.received(model, half.ids))


def test_renoising_is_a_function_of_its_generator():
    model, x0 = tiny_model(), tiny_ids(1, 12)[0]
    a, b, c = (
        trajectories.renoising(model, x0, (0.5, 0.5), draws=3, generator=seeded(seed))  # no position is spared
        for seed in (1, 1, 2)
    )
    assert all(torch.equal(x.ids, y.ids) and torch.equal(x.sums, y.sums) for x, y in zip(a, b, strict=True))
    assert not torch.equal(a[0].ids, c[0].ids) and not torch.equal(a[0].ids, a[1].ids)


def test_joined_trajectories_stand_behind_each_other():
    parts = trajectories.renoising(tiny_model(), tiny_ids(1, 12)[0], (0.2, 0.8), draws=3, generator=seeded())
    whole = trajectories.Trajectory.join(parts)
    close(whole.mass, torch.cat([part.mass for part in parts]))
    for name in ("ids", "sums", "visible"):
        assert torch.equal(getattr(whole, name)[:3], getattr(parts[0], name))
        assert torch.equal(getattr(whole, name)[3:], getattr(parts[1], name))


# ------------------------------------------------------------------------------------------------ kinds and values

TOKENIZER = build_tokenizer()
QUESTION = "ann buys 12 apples . how many ?"
WORDS = {
    "<|startoftext|>": "start mark",
    **dict.fromkeys(["ann", "buys", "apples", "how", "many"], "question word"),
    "12": "question number",
    ".": "question sign",
    "?": "question sign",
    "<|answer|>": "answer mark",
}
ANSWER = {"12": "answer number", "+": "answer sign", "5": "answer number", "=": "answer sign", "17": "answer number"}
ANSWER |= {";": "answer sign", "####": "answer sign", "<|endoftext|>": "end mark", "<|mdm_mask|>": "mask"}


def encode(text: str) -> torch.Tensor:
    return torch.tensor([TOKENIZER(text, add_special_tokens=False)["input_ids"]])


def names(ids: torch.Tensor) -> list[str]:
    return [trajectories.KINDS[k] for k in trajectories.token_kinds(ids, TOKENIZER)[0].tolist()]


def test_every_token_of_a_text_has_its_kind():
    left = encode(f"<|startoftext|>{QUESTION}<|answer|>")
    right = encode("12 + 5 = <|mdm_mask|> ; #### 17 <|endoftext|> <|endoftext|>")
    words = TOKENIZER.convert_ids_to_tokens(torch.cat([left, right], 1)[0])
    n = left.shape[1]
    wanted = [WORDS[w] for w in words[:n]] + [ANSWER[w] for w in words[n:]]
    assert names(torch.cat([left, right], 1)) == wanted
    assert set(wanted) == set(trajectories.KINDS)


def test_the_second_problem_of_a_row_begins_with_a_question_again():
    text = f"<|startoftext|>{QUESTION}<|answer|> 12 + 5 = 17 <|endoftext|>"
    assert names(encode(text + text)) == names(encode(text)) * 2


def test_a_masked_number_is_a_mask_on_either_side():
    ids = encode(f"<|startoftext|>{QUESTION}<|answer|> 12")
    number = TOKENIZER.convert_tokens_to_ids("12")
    ids[ids == number] = TOKENIZER.mask_token_id
    assert names(ids).count("mask") == 2 and not any("number" in name for name in names(ids))


@pytest.mark.parametrize("n_kv_heads", [4, 2, 1])
def test_value_norms_are_the_lengths_of_the_value_vectors(n_kv_heads):
    model, ids, inputs = tiny_model(n_kv_heads=n_kv_heads), tiny_ids(2, 6), []
    blocks = model.model.transformer["blocks"]
    hooks = [b.register_forward_pre_hook(lambda module, args: inputs.append(args[0])) for b in blocks]
    norms = trajectories.value_norms(model, ids)
    for hook in hooks:
        hook.remove()
    assert norms.shape == (N, 2, H, 6)
    width = SIZES["d_model"] // H
    for n, block in enumerate(blocks):
        x = inputs[n] / inputs[n].pow(2).mean(-1, keepdim=True).add(1e-5).sqrt() * block.attn_norm.weight.detach()
        for head in range(H):
            shared = head * n_kv_heads // H  # neighbouring heads share a value head
            v = x @ block.v_proj.weight.detach()[shared * width : (shared + 1) * width].T  # (B, L, D/H)
            close(norms[n, :, head], v.pow(2).sum(-1).sqrt())
    assert not any(block.v_proj._forward_hooks for block in blocks)


# ------------------------------------------------------------------------------------------------ wrong arguments


def test_what_cannot_be_read_is_refused():
    full, causal, x0 = tiny_model(eos_token_id=NEVER), tiny_model("causal", eos_token_id=NEVER), tiny_ids(1, 6)
    with pytest.raises(ValueError, match="gen_length=0 and no mask in the prompt"):
        trajectories.denoising(full, PROMPT, gen_length=0)
    with pytest.raises(ValueError, match="gen_length=0 must be >= 1"):
        trajectories.generation(causal, PROMPT, gen_length=0)
    with pytest.raises(ValueError, match="causal"):
        trajectories.denoising(causal, PROMPT)
    with pytest.raises(ValueError, match="causal"):
        trajectories.generation(full, PROMPT)
    with pytest.raises(ValueError, match=r"shape \(1, 6\) and draws=2"):
        trajectories.renoising(full, x0, (0.5,), draws=2, generator=seeded())
    with pytest.raises(ValueError, match="draws=0"):
        trajectories.renoising(full, x0[0], (0.5,), draws=0, generator=seeded())
    with pytest.raises(ValueError, match=r"times must lie in \[0, 1\]"):
        trajectories.renoising(full, x0[0], (1.5,), draws=2, generator=seeded())


def test_uncovering_visits_one_state_more_than_it_uncovers():
    model, x0 = tiny_model(), tiny_ids(1, 10)[0] + 1
    run = trajectories.uncovering(model, x0, [3, 7, 1])
    mask = model.config.mask_token_id
    hidden = [(row == mask).nonzero()[:, 0].tolist() for row in run.ids]
    assert hidden == [[1, 3, 7], [1, 7], [1], []] and torch.equal(run.ids[-1], x0)
    torch.testing.assert_close(run.sums[1], sinks.received(model, run.ids[1:2])[:, 0])
    for wrong in ([3, 3], [10], [-1]):
        with pytest.raises(ValueError, match="at most once"):
            trajectories.uncovering(model, x0, wrong)
