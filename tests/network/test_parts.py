"""Parts by what they do, and nobody else who knows their names."""

from pathlib import Path

import torch

import dlmlab
from dlmlab.network import parts
from tests.tiny import tiny_ids, tiny_model

NAMES = [name for names in parts.READERS for name in names] + ["attn_norm", "ff_norm", "ln_f", "wte", ".transformer"]
OTHER_FORMATS = ("gguffile.py", "lab18_linear.py")  # translate the names, or take one matrix to other programs


def test_no_file_outside_the_network_knows_the_name_of_a_tensor():
    package = Path(dlmlab.__file__).parent
    for path in sorted(package.rglob("*.py")):
        if path.parent.name != "network" and path.name not in OTHER_FORMATS:
            text = path.read_text(encoding="utf-8")
            assert not [name for name in NAMES if name in text], path.relative_to(package)


def test_the_matrices_are_all_that_the_blocks_hold_beside_their_norms():
    model = tiny_model()
    for block in parts.blocks(model):
        assert {id(m.weight) for m in parts.matrices(block).values()} == {
            id(p) for p in block.parameters() if p.ndim == 2
        }
    state = model.state_dict()
    for name, W in parts.weights(model).items():
        assert torch.equal(state[f"model.transformer.{name}.weight"], W)


def test_the_matrices_of_a_site_read_the_same_input():
    model, seen = tiny_model(), {}
    note = seen.__setitem__
    for block in parts.blocks(model):
        for matrix in parts.matrices(block).values():
            matrix.register_forward_pre_hook(lambda module, x: note(module, x[0]))
    with torch.inference_mode():
        model(tiny_ids())
    for block in parts.blocks(model):
        inputs = [[seen[block.get_submodule(name)] for name in site.matrices] for site in parts.sites(block)]
        assert all(x is group[0] for group in inputs for x in group)
        assert len({id(group[0]) for group in inputs}) == len(inputs)


def test_a_forward_is_made_of_its_parts():
    model, ids = tiny_model(), tiny_ids()
    with torch.inference_mode():
        h, frame = parts.embed(model, ids), model.frame(ids, None, None, None)
        for block in parts.blocks(model):
            h, _ = block.mix(h, *parts.project(block, h, frame.rope), frame.mask)
        torch.testing.assert_close(parts.predict(model, h), model(ids).logits)
    heads, width = parts.shape(parts.blocks(model)[0])
    assert (heads, width) == (4, 48)


def test_makers_readers_writers_and_ends_are_all_there_is():
    model = tiny_model()
    found = [weight for norm, readers in parts.norms(model) for weight in (norm.weight, *(r.weight for r in readers))]
    found += [linear.weight for block in parts.blocks(model) for linear in parts.writers(block)]
    found.append(parts.ends(model)[0].weight)
    assert len(found) == len({id(w) for w in found}) == len(list(model.parameters()))
    assert {id(w) for w in found} == {id(w) for w in model.parameters()}
    assert parts.norms(model)[-1][1] == [parts.ends(model)[1]]


def test_dividing_what_makes_an_input_divides_the_input():
    for name in parts.MAKERS:
        model, seen = tiny_model(n_kv_heads=4), []
        maker, readers = parts.inputs(parts.blocks(model)[0])[name]
        readers[name].register_forward_pre_hook(lambda module, x, seen=seen: seen.append(x[0]))
        with torch.inference_mode():
            model(tiny_ids())
            maker.weight /= 4
            model(tiny_ids())
        torch.testing.assert_close(seen[1], seen[0] / 4)
