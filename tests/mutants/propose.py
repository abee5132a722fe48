"""Answers to exercise 1.8."""

import torch


def _gumbel(shape, generator):
    return -(-torch.rand(shape, generator=generator, dtype=torch.float64).log()).log()


def _draw(logits, T, generator):
    return (logits.double() + T * _gumbel(logits.shape, generator)).argmax(-1) if T else logits.argmax(-1)


def _without(logits, mask_id, value=-torch.inf):
    logits = logits.clone()
    logits[..., mask_id] = value
    return logits


def _p(logits, tokens):
    return logits.softmax(-1).gather(-1, tokens[..., None])[..., 0]


def the_mask_gets_0(logits, temperature, generator, mask_id):
    logits = _without(logits, mask_id, 0.0)
    tokens = _draw(logits, temperature, generator)
    return tokens, _p(logits, tokens)


def the_mask_gets_less(logits, temperature, generator, mask_id):
    logits = _without(logits, mask_id, -10.0)
    tokens = _draw(logits, temperature, generator)
    return tokens, _p(logits, tokens)


def one_below_the_least(logits, temperature, generator, mask_id):
    logits = _without(logits, mask_id, float(logits.min()) - 1)
    tokens = _draw(logits, temperature, generator)
    return tokens, _p(logits, tokens)


def rules_out_after_the_draw(logits, temperature, generator, mask_id):
    tokens = _draw(logits, temperature, generator)
    return tokens, _p(_without(logits, mask_id), tokens)


def rules_out_for_the_draw_only(logits, temperature, generator, mask_id):
    tokens = _draw(_without(logits, mask_id), temperature, generator)
    return tokens, _p(logits, tokens)


def rules_out_at_temperature_0_only(logits, temperature, generator, mask_id):
    logits = logits if temperature else _without(logits, mask_id)
    tokens = _draw(logits, temperature, generator)
    return tokens, _p(logits, tokens)


def rules_out_the_last_id(logits, temperature, generator, mask_id):
    logits = _without(logits, -1)
    tokens = _draw(logits, temperature, generator)
    return tokens, _p(logits, tokens)


def tempered_confidence(logits, temperature, generator, mask_id):
    logits = _without(logits, mask_id)
    tokens = _draw(logits, temperature, generator)
    return tokens, _p(logits / (temperature or 1.0), tokens)


def confidence_of_noised_logits(logits, temperature, generator, mask_id):
    logits = _without(logits, mask_id)
    noised = logits + temperature * _gumbel(logits.shape, generator).float()
    tokens = noised.argmax(-1)
    return tokens, _p(noised, tokens)


def largest_probability(logits, temperature, generator, mask_id):
    logits = _without(logits, mask_id)
    return _draw(logits, temperature, generator), logits.softmax(-1).amax(-1)


def without_temperature(logits, temperature, generator, mask_id):
    logits = _without(logits, mask_id)
    tokens = _draw(logits, 1.0 if temperature else 0.0, generator)
    return tokens, _p(logits, tokens)


def ignores_the_generator(logits, temperature, generator, mask_id):
    logits = _without(logits, mask_id)
    tokens = _draw(logits, temperature, None)
    return tokens, _p(logits, tokens)


def writes_into_the_logits(logits, temperature, generator, mask_id):
    logits[..., mask_id] = -torch.inf
    tokens = _draw(logits, temperature, generator)
    return tokens, _p(logits, tokens)


def log_probability(logits, temperature, generator, mask_id):
    logits = _without(logits, mask_id)
    tokens = _draw(logits, temperature, generator)
    return tokens, _p(logits, tokens).log()


MUTANTS = {
    the_mask_gets_0: "the mask itself was proposed",
    the_mask_gets_less: "the mask itself was proposed",
    one_below_the_least: "the mask itself was proposed",
    rules_out_after_the_draw: "the mask itself was proposed",
    rules_out_for_the_draw_only: "shares its probability with the mask",
    rules_out_at_temperature_0_only: "the mask itself was proposed",
    rules_out_the_last_id: "the mask itself was proposed",
    tempered_confidence: "tempered",
    confidence_of_noised_logits: "without noise",
    largest_probability: "largest probability",
    without_temperature: "too often",
    ignores_the_generator: "generator",
    writes_into_the_logits: "in place",
    log_probability: "should be the probability",
}


def right(logits, temperature, generator, mask_id):
    logits = _without(logits, mask_id)
    tokens = _draw(logits, temperature, generator)
    return tokens, _p(logits, tokens)


def with_multinomial(logits, temperature, generator, mask_id):
    logits = _without(logits, mask_id, torch.finfo(logits.dtype).min)
    if temperature == 0:
        return logits.argmax(-1), logits.softmax(-1).amax(-1)
    p = (logits.double() / temperature).softmax(-1)
    tokens = torch.multinomial(p.flatten(0, 1), 1, generator=generator).view(logits.shape[:2])
    return tokens, _p(logits, tokens)


RIGHT = [right, with_multinomial]
