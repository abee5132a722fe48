"""Interventions: hidden keys get nothing, emptied values say nothing, padding is never chosen, decoders accept it."""

import pytest
import torch

from dlmlab.attention import sinks, values
from dlmlab.attention.interventions import (
    EmptyValues,
    MeanValues,
    OfKind,
    OneOf,
    Strongest,
    SwappedValues,
    WithoutKeys,
    empty_values,
    mean_values,
    role,
    swapped_values,
    without_keys,
)
from dlmlab.attention.trajectories import token_kinds
from dlmlab.decode import autoregressive, sampling
from dlmlab.decode.commit import Threshold
from dlmlab.decode.sampling import Sampler
from dlmlab.network import parts
from dlmlab.task.tokenizer import build_tokenizer
from tests.tiny import one_thread, tiny_ids, tiny_model  # noqa: F401 (a fixture)

pytestmark = pytest.mark.usefixtures("one_thread")
MASK, END, TOKENIZER = 0, 49, build_tokenizer()
TEXT = "<|startoftext|> ann buys 12 apples . then ann takes 5 more . <|answer|> 12 + 5 = <|mdm_mask|>"
IDS = torch.tensor([TOKENIZER(TEXT, add_special_tokens=False)["input_ids"]])
L = IDS.shape[1]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def tiny(attention="full", **changes):
    return tiny_model(attention, eos_token_id=END, **changes)


def logits(model, ids, mask=None, **options):
    with torch.no_grad():
        return model(ids, mask, **options).logits


def close(a, b) -> None:
    torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


every_attention = pytest.mark.parametrize("attention", ["full", "causal"])


# ------------------------------------------------------------------------------------------------ the model


@every_attention
def test_hidden_keys_get_no_attention_but_their_own(attention):
    model, ids = tiny(attention), tiny_ids(3, 12)
    hidden = Strongest(2)(sinks.attention_mass(sinks.received(model, ids)), ids, torch.ones(3, 12, dtype=torch.bool))
    assert hidden.sum(1).tolist() == [2, 2, 2]
    with torch.inference_mode():
        out = WithoutKeys(model, Strongest(2))(ids, output_attentions=True)
    itself = torch.eye(12, dtype=torch.bool)
    for maps in out.attentions:  # (B, H, L, L)
        others = maps.masked_fill(itself, 0.0).transpose(1, 3)  # (B, key, query, H)
        assert not others[hidden].any() and others[~hidden].any(-1).any()
        close(maps.sum(-1), torch.ones(maps.shape[:3]))
        assert (maps.diagonal(dim1=2, dim2=3).transpose(1, 2)[hidden] > 0).all()
    close(out.logits, logits(model, ids, ~hidden))


@every_attention
def test_what_is_hidden_is_what_the_attention_of_this_forward_says(attention):
    model, ids, asked = tiny(attention), tiny_ids(2, 10), []

    def note(mass, ids, real):
        asked.append((mass, ids, real))
        return Strongest(1)(mass, ids, real)

    logits(WithoutKeys(model, note), ids)
    mass, seen, real = asked[0]
    close(mass, sinks.attention_mass(sinks.received(model, ids)))
    assert torch.equal(seen, ids) and real.all() and real.dtype == torch.bool
    strongest = Strongest(1)(mass, ids, real)
    assert strongest.float().argmax(1).tolist() == mass.argmax(1).tolist()


def test_padding_on_the_left_changes_nothing():
    model, ids = tiny(), tiny_ids(1, 9)
    padded = torch.cat([torch.full((1, 4), 7), ids], 1)
    mask = torch.tensor([[False] * 4 + [True] * 9])
    blind = WithoutKeys(model, Strongest(2))
    close(logits(blind, padded, mask)[:, 4:], logits(blind, ids))
    assert not torch.allclose(logits(blind, ids), logits(model, ids), atol=1e-2)  # and it does something


def test_a_cache_is_refused():
    blind = WithoutKeys(tiny("causal"), Strongest(1))
    with pytest.raises(ValueError, match="cache=False"):
        autoregressive.sample(blind, [[1, 2, 3]], gen_length=2)


# ------------------------------------------------------------------------------------------------ values


def attention_outputs(model, run) -> list[torch.Tensor]:
    """What each layer's heads hand over while `run` calls the model, (B, L, D) each."""
    got = []
    hooks = [
        block.attn_out.register_forward_pre_hook(lambda module, args: got.append(args[0]))
        for block in model.model.transformer["blocks"]
    ]
    run()
    for hook in hooks:
        hook.remove()
    return got


@every_attention
def test_an_emptied_position_gets_its_attention_and_hands_over_nothing(attention):
    model, ids, values = tiny(attention), tiny_ids(3, 12), []
    keys = torch.rand(3, 12, generator=seeded()) < 0.3
    first = model.model.transformer["blocks"][0]
    hook = first.v_proj.register_forward_hook(lambda module, args, out: values.append(out))  # before they are emptied
    with torch.no_grad():
        maps = model(ids, output_attentions=True).attentions[0]
        again = empty_values(model, ids, keys, output_attentions=True).attentions[0]
        (handed, _) = attention_outputs(model, lambda: empty_values(model, ids, keys))
    hook.remove()
    close(maps, again)  # in the first layer; later ones read something else
    v = values[0].unflatten(-1, (2, -1)).repeat_interleave(2, 2)  # (B, L, H, width), two heads share a value
    wanted = torch.einsum("bhqk,bkhw->bqhw", maps * ~keys[:, None, None], v)
    close(handed, wanted.flatten(2))
    assert not torch.allclose(handed, torch.einsum("bhqk,bkhw->bqhw", maps, v).flatten(2), atol=1e-2)


def test_emptying_everything_is_attention_that_says_nothing_and_emptying_nothing_changes_nothing():
    model, ids = tiny(), tiny_ids(2, 9)
    nothing, everything = torch.zeros(2, 9, dtype=torch.bool), torch.ones(2, 9, dtype=torch.bool)
    dense = logits(model, ids)
    with torch.no_grad():
        close(empty_values(model, ids, nothing).logits, dense)
        empty = empty_values(model, ids, everything).logits
        for block in model.model.transformer["blocks"]:
            block.attn_out.weight.zero_()
    close(empty, logits(model, ids))
    assert not torch.allclose(empty, dense, atol=1e-2)


def test_a_mean_value_tells_nothing_about_its_text_and_costs_nothing_where_nothing_was_told():
    model, ids = tiny("causal", n_layers=1), tiny_ids(3, 9)
    ids[:, 0] = 7  # the same in every text, and it sees itself alone: a constant
    first, rest = torch.arange(9)[None].expand(3, -1) == 0, torch.arange(9)[None].expand(3, -1) > 0
    with torch.no_grad():
        close(mean_values(model, ids, first).logits, logits(model, ids))
        assert not torch.allclose(empty_values(model, ids, first).logits, logits(model, ids), atol=1e-2)
        assert not torch.allclose(mean_values(model, ids, rest).logits, logits(model, ids), atol=1e-2)
        close(mean_values(model, ids, ~first & ~rest).logits, logits(model, ids))
        handed = attention_outputs(model, lambda: mean_values(model, ids, first | rest))[0]  # one value for all
    close(handed, handed[:1, :1].expand(handed.shape))


def test_the_values_are_back_after_an_error():
    model, ids = tiny(), tiny_ids(2, 9)
    dense = logits(model, ids)
    with pytest.raises(ValueError, match="attention_mask has shape"):
        empty_values(model, ids, torch.ones(2, 9, dtype=torch.bool), torch.ones(2, 8))
    close(logits(model, ids), dense)


@pytest.mark.parametrize("attention", ["full", "causal"])
@pytest.mark.parametrize(
    "kind, change", [(WithoutKeys, without_keys), (EmptyValues, empty_values), (MeanValues, mean_values)]
)
def test_each_change_does_to_the_chosen_keys_what_its_function_does(attention, kind, change):
    model, ids = tiny(attention), tiny_ids(3, 9)
    real = torch.arange(9) >= torch.tensor([[0], [0], [3]])
    with torch.no_grad():
        sums = sinks.received(model, ids, real)
        keys = Strongest(2)(sinks.attention_mass(sums), ids, real)
        wanted = change(model, ids, keys, real).logits
    close(logits(kind(model, Strongest(2)), ids, real)[real], wanted[real])
    assert not torch.allclose(wanted[real], logits(model, ids, real)[real], atol=1e-2)


def test_without_the_value_of_a_parking_place_nothing_breaks_and_without_its_key_much():
    model, ids, keys = tiny(n_layers=1), tiny_ids(2, 9), torch.arange(9)[None].expand(2, -1) == 0
    said, moved = torch.ones(1, 9, 1), {}
    model.model.transformer["blocks"][0].v_proj.register_forward_hook(lambda module, args, out: out * said)
    for name, first in (("parked", 0.0), ("read", 5.0)):  # what position 0 says, against the others
        said[0, 0] = first
        dense = logits(model, ids)
        with torch.no_grad():
            hidden, empty = (f(model, ids, keys).logits[:, 1:] for f in (without_keys, empty_values))
        moved[name] = [float((x - dense[:, 1:]).abs().mean()) for x in (hidden, empty)]
    assert moved["parked"][0] > 0.01 > moved["parked"][1] and moved["read"][1] > 0.1


# ------------------------------------------------------------------------------------------------ the choices


def test_the_strongest_are_k_real_positions_and_never_padding():
    ids = torch.cat([IDS, IDS.roll(3, 1)])
    real = torch.stack([torch.arange(L) >= 5, torch.arange(L) >= 0])
    mass = torch.rand(2, L, generator=seeded()) + 10 * ~real  # padding looks strong
    for k in (0, 1, 3, (L - 5) // 2):
        hidden = Strongest(k)(mass, ids, real)
        assert hidden.dtype == torch.bool and hidden.sum(1).tolist() == [k, k]
        assert not (hidden & ~real).any()


def test_the_strongest_are_the_largest():
    mass = torch.tensor([[1.0, 5.0, 3.0, 4.0], [9.0, 0.0, 0.0, 1.0]])
    real = torch.tensor([[True, True, True, True], [False, True, True, True]])
    assert Strongest(2)(mass, mass.long(), real).int().tolist()[0] == [0, 1, 0, 1]
    assert Strongest(1)(mass, mass.long(), real).int().tolist() == [[0, 1, 0, 0], [0, 0, 0, 1]]


def test_of_kind_takes_every_real_position_of_a_kind():
    words = TOKENIZER.convert_ids_to_tokens(IDS[0].tolist())
    real = torch.arange(L)[None] != words.index("5")
    hidden = OfKind("question number", TOKENIZER)(torch.rand(1, L), IDS, real)[0]
    assert hidden.nonzero()[:, 0].tolist() == [words.index("12")]  # the other 12 and 5 are in the answer
    with pytest.raises(ValueError, match="kind='verb' is unknown; known: start mark, answer mark"):
        OfKind("verb", TOKENIZER)


def test_k_must_leave_something_in_the_shortest_row():
    real = torch.stack([torch.arange(L) >= L - 6, torch.arange(L) >= 0])
    ids, mass = IDS.expand(2, -1), torch.rand(2, L, generator=seeded())
    assert Strongest(5)(mass, ids, real).sum(1).tolist() == [5, 5]
    for k in (-1, 6):
        with pytest.raises(ValueError, match=rf"k={k} must lie in 0\.\.5"):
            Strongest(k)(mass, ids, real)


# ------------------------------------------------------------------------------------------------ the decoders

PROMPTS = [[7, 3, 9, 4, 11, 2], [5, 6, 8]]


def decode(model, attention):
    if attention == "causal":
        return autoregressive.sample(model, PROMPTS, gen_length=5, cache=False)
    return sampling.sample(model, PROMPTS, gen_length=5, sampler=Sampler(commit=Threshold(0.1)))


@every_attention
def test_hiding_no_key_changes_no_token(attention):
    model = tiny(attention)
    assert torch.equal(decode(WithoutKeys(model, Strongest(0)), attention).ids, decode(model, attention).ids)
    ids = tiny_ids()
    close(logits(WithoutKeys(model, Strongest(0)), ids), logits(model, ids))


def test_the_diffusion_loop_decodes_with_the_blind_model():
    model = tiny()
    out = decode(WithoutKeys(model, Strongest(1)), "full")
    assert not (out.ids[:, out.prompt_length :] == MASK).any()
    first = torch.tensor([PROMPTS[0] + [MASK] * 5])
    mass = sinks.attention_mass(sinks.received(model, first))
    blind = logits(model, first, torch.ones_like(first).scatter(1, mass.argmax(1, keepdim=True), 0).bool())
    at = out.trace.order(0)[0]  # the first commits are those of the model without the strongest key
    blind[..., MASK] = float("-inf")
    assert out.trace.states(0)[1][at].tolist() == blind[0, at].argmax(-1).tolist()


def test_the_autoregressive_loop_decodes_with_the_blind_model():
    model = tiny("causal")
    out = autoregressive.sample(WithoutKeys(model, Strongest(1)), [PROMPTS[0]], gen_length=5, cache=False)
    text = list(PROMPTS[0])
    for _ in range(5):
        prefix = torch.tensor([text])
        mass = sinks.attention_mass(sinks.received(model, prefix))
        row = logits(model, prefix, torch.ones_like(prefix).scatter(1, mass.argmax(1, keepdim=True), 0).bool())[0, -1]
        row[MASK] = float("-inf")
        text.append(END if text[-1] == END else int(row.argmax()))  # nothing follows an end mark
    assert out.ids[0].tolist() == text


def test_a_model_without_its_strongest_keys_can_be_decoded_with():
    model = tiny(vocab_size=len(TOKENIZER), mask_token_id=TOKENIZER.mask_token_id)
    prompt = IDS[0, :-1].tolist()
    out = sampling.sample(WithoutKeys(model, Strongest(2)), [prompt, prompt[3:]], gen_length=4)
    assert not (out.ids[:, -4:] == TOKENIZER.mask_token_id).any()


# ------------------------------------------------------------------------------------------------ what others say


def test_a_swapped_value_is_that_of_another_text_and_only_the_value():
    model, ids = tiny(), tiny_ids(4, 9)
    keys = torch.zeros(4, 9, dtype=torch.bool)
    keys[torch.arange(4), torch.tensor([2, 5, 0, 7])] = True
    same = ids.clone()
    same[:] = ids[0]
    with torch.no_grad():
        alike = torch.zeros_like(keys)
        alike[:, 3] = True  # four copies of a text say the same there
        close(swapped_values(model, same, alike).logits, logits(model, same))
        assert not torch.allclose(swapped_values(model, ids, keys).logits, logits(model, ids), atol=1e-2)
        close(swapped_values(model, ids, torch.zeros_like(keys)).logits, logits(model, ids))
        one = swapped_values(model, ids[:1], keys[:1]).logits  # alone in its batch it keeps its own
    close(one, logits(model, ids[:1]))


def test_swapped_values_of_the_first_layer_change_places():
    model, ids, seen = tiny(n_layers=1), tiny_ids(2, 6), []
    keys = torch.zeros(2, 6, dtype=torch.bool)
    keys[0, 1] = keys[1, 4] = True
    with torch.no_grad(), values.through(model, seen.append):
        model(ids)
    before = seen[0]
    with torch.no_grad():
        after = []
        block = parts.blocks(model)[0]
        hook = block.attn_out.register_forward_pre_hook(lambda module, args: after.append(args[0]))
        swapped_values(model, ids, keys)
        hook.remove()
    swapped = before.clone()
    swapped[0, 1], swapped[1, 4] = before[1, 4], before[0, 1]
    with torch.no_grad():
        maps = model(ids, output_attentions=True).attentions[0]  # (B, H, L, L)
    v = swapped.unflatten(-1, (2, -1)).transpose(1, 2).repeat_interleave(2, 1)  # (B, H, L, width)
    close(after[0], (maps @ v).transpose(1, 2).flatten(2))


def test_one_of_draws_one_position_of_its_kinds_and_needs_no_second_forward():
    drawn = OneOf(("question word",), TOKENIZER, seeded())
    rows = IDS.repeat(300, 1)
    keys = drawn(torch.zeros(rows.shape), rows, torch.ones_like(rows, dtype=torch.bool))
    words = token_kinds(IDS, TOKENIZER)[0] == 2
    assert keys.sum(1).tolist() == [1] * 300 and torch.equal(keys.any(0), words)
    real = torch.zeros_like(IDS, dtype=torch.bool)
    assert not OneOf(("mask",), TOKENIZER, seeded())(torch.zeros(IDS.shape), IDS, real).any()
    calls = []

    def counted(ids, mask=None, **options):
        calls.append(options)
        return model(ids, mask, **options)

    model = tiny(vocab_size=len(TOKENIZER), max_sequence_length=L)
    spy = type(
        "Spy", (), {"config": model.config, "device": model.device, "__call__": lambda s, *a, **o: counted(*a, **o)}
    )
    with torch.no_grad():
        WithoutKeys(spy(), drawn)(IDS)
        assert len(calls) == 1
        WithoutKeys(spy(), Strongest(1))(IDS)
    assert len(calls) == 3
    with pytest.raises(ValueError, match="'verb' is unknown"):
        OneOf(("verb",), TOKENIZER, seeded())


def test_a_role_needs_an_interval_on_one_side():
    assert role((1, 2), (1, 2), (0, 0.01)) == "parked" and role((1, 2), (1, 2), (0.1, 2)) == "read"
    assert role((0, 0.01), (0, 0.01), (0, 0.01)) == "spare" and role((1, 2), (1, 2), (-1, 1)) == "open"
    assert SwappedValues.change is swapped_values
