"""Answers to exercise 1.3."""

import torch


def _gumbel(shape, generator, dtype=torch.float64):
    return -(-torch.rand(shape, generator=generator, dtype=dtype).log()).log()


def noise_on_probabilities(logits, temperature, generator):
    if temperature == 0:
        return logits.argmax(-1)
    return (logits.double().softmax(-1) + temperature * _gumbel(logits.shape, generator)).argmax(-1)


def noise_on_tempered_probabilities(logits, temperature, generator):
    if temperature == 0:
        return logits.argmax(-1)
    return ((logits.double() / temperature).softmax(-1) + _gumbel(logits.shape, generator)).argmax(-1)


def float32_noise(logits, temperature, generator):
    if temperature == 0:
        return logits.argmax(-1)
    return (logits + temperature * _gumbel(logits.shape, generator, torch.float32)).argmax(-1)


def float32_noise_added_in_float64(logits, temperature, generator):
    if temperature == 0:
        return logits.argmax(-1)
    return (logits.double() + temperature * _gumbel(logits.shape, generator, torch.float32)).argmax(-1)


def float64_noise_added_in_float32(logits, temperature, generator):
    if temperature == 0:
        return logits.argmax(-1)
    return (logits + temperature * _gumbel(logits.shape, generator).float()).argmax(-1)


def multiplies_the_logits(logits, temperature, generator):
    if temperature == 0:
        return logits.argmax(-1)
    return (logits.double() * temperature + _gumbel(logits.shape, generator)).argmax(-1)


def forgets_the_temperature(logits, temperature, generator):
    if temperature == 0:
        return logits.argmax(-1)
    return (logits.double() + _gumbel(logits.shape, generator)).argmax(-1)


def divides_by_temperature_0(logits, temperature, generator):
    return (logits.double() / temperature + _gumbel(logits.shape, generator)).argmax(-1)


def draws_at_temperature_0(logits, temperature, generator):
    return (logits.double() / max(temperature, 1.0) + _gumbel(logits.shape, generator)).argmax(-1)


def last_of_equal_logits(logits, temperature, generator):
    if temperature == 0:
        return logits.shape[-1] - 1 - logits.flip(-1).argmax(-1)
    return (logits.double() + temperature * _gumbel(logits.shape, generator)).argmax(-1)


def ignores_the_generator(logits, temperature, generator):
    if temperature == 0:
        return logits.argmax(-1)
    return (logits.double() + temperature * _gumbel(logits.shape, None)).argmax(-1)


def seeds_the_global_generator(logits, temperature, generator):
    torch.manual_seed(0)
    return ignores_the_generator(logits, temperature, generator)


def one_noise_for_all_positions(logits, temperature, generator):
    if temperature == 0:
        return logits.argmax(-1)
    return (logits.double() + temperature * _gumbel(logits.shape[-1:], generator)).argmax(-1)


def one_noise_for_all_rows(logits, temperature, generator):
    if temperature == 0:
        return logits.argmax(-1)
    return (logits.double() + temperature * _gumbel(logits.shape[1:], generator)).argmax(-1)


def one_noise_for_each_position(logits, temperature, generator):
    if temperature == 0:
        return logits.argmax(-1)
    return (logits.double() + temperature * _gumbel((*logits.shape[:-1], 1), generator)).argmax(-1)


def one_noise_for_each_row(logits, temperature, generator):
    if temperature == 0:
        return logits.argmax(-1)
    return (logits.double() + temperature * _gumbel((len(logits), 1, logits.shape[-1]), generator)).argmax(-1)


def wrong_sign(logits, temperature, generator):
    if temperature == 0:
        return logits.argmax(-1)
    return (logits.double() - temperature * _gumbel(logits.shape, generator)).argmax(-1)


def normal_noise(logits, temperature, generator):
    if temperature == 0:
        return logits.argmax(-1)
    noise = torch.randn(logits.shape, generator=generator, dtype=torch.float64)
    return (logits.double() + temperature * noise).argmax(-1)


def draws_forbidden_tokens(logits, temperature, generator):
    if temperature == 0:
        return logits.argmax(-1)
    return (logits.double().clamp(min=-3) + temperature * _gumbel(logits.shape, generator)).argmax(-1)


def writes_into_logits(logits, temperature, generator):
    if temperature == 0:
        return logits.argmax(-1)
    return logits.div_(temperature).double().add(_gumbel(logits.shape, generator)).argmax(-1)


def writes_into_logits_at_any_temperature(logits, temperature, generator):
    logits -= logits.amax(-1, keepdim=True)
    return forgets_the_temperature(logits, temperature, generator)


def returns_the_values(logits, temperature, generator):
    return logits.amax(-1)


def laplace_noise(logits, temperature, generator):
    if temperature == 0:
        return logits.argmax(-1)
    u = torch.rand(logits.shape, generator=generator, dtype=torch.float64) - 0.5
    return (logits.double() - temperature * u.sign() * (1 - 2 * u.abs()).log()).argmax(-1)


def logistic_noise(logits, temperature, generator):
    if temperature == 0:
        return logits.argmax(-1)
    u = torch.rand(logits.shape, generator=generator, dtype=torch.float64)
    return (logits.double() + temperature * (u / (1 - u)).log()).argmax(-1)


def normal_noise_of_the_same_spread(logits, temperature, generator):
    if temperature == 0:
        return logits.argmax(-1)
    noise = torch.randn(logits.shape, generator=generator, dtype=torch.float64) * 1.2825
    return (logits.double() + temperature * noise).argmax(-1)


def clips_the_noise(logits, temperature, generator):
    if temperature == 0:
        return logits.argmax(-1)
    return (logits.double() + temperature * _gumbel(logits.shape, generator).clamp(max=3.0)).argmax(-1)


def draws_and_forgets_at_temperature_0(logits, temperature, generator):
    noise = _gumbel(logits.shape, generator)
    return (logits.double() + temperature * noise).argmax(-1) if temperature else logits.argmax(-1)


def keeps_to_the_ten_best(logits, temperature, generator):
    if temperature == 0:
        return logits.argmax(-1)
    least = logits.topk(min(10, logits.shape[-1]), -1).values[..., -1:]
    return (
        logits.double().masked_fill(logits < least, -torch.inf) + temperature * _gumbel(logits.shape, generator)
    ).argmax(-1)


MUTANTS = {
    noise_on_probabilities: "probabilities",
    noise_on_tempered_probabilities: "probabilities",
    float32_noise: "float64",
    float32_noise_added_in_float64: "float64",
    float64_noise_added_in_float32: "float64",
    multiplies_the_logits: "inverted",
    forgets_the_temperature: "temperature does nothing",
    divides_by_temperature_0: "no division by the temperature",
    draws_at_temperature_0: "no noise",
    last_of_equal_logits: "lowest index",
    ignores_the_generator: "generator",
    seeds_the_global_generator: "generator",
    one_noise_for_all_positions: "rows share their noise",
    one_noise_for_all_rows: "rows share their noise",
    one_noise_for_each_position: "token 0 always wins",
    one_noise_for_each_row: "positions share their noise",
    wrong_sign: "both minus signs",
    normal_noise: "-log(-log u)",
    draws_forbidden_tokens: "-inf was drawn",
    writes_into_logits: "in place",
    writes_into_logits_at_any_temperature: "in place",
    returns_the_values: "not values",
    laplace_noise: "only Gumbel",
    logistic_noise: "-log(-log u)",
    normal_noise_of_the_same_spread: "-log(-log u)",
    clips_the_noise: "only Gumbel",
    draws_and_forgets_at_temperature_0: "drew from the generator",
    keeps_to_the_ten_best: "only Gumbel",
}


def as_published(logits, temperature, generator):
    """The form of LLaDA's sampler: exp(logits) / (-log u)^T."""
    if temperature == 0:
        return logits.argmax(-1)
    u = torch.rand(logits.shape, generator=generator, dtype=torch.float64)
    return (logits.double().exp() / (-u.log()) ** temperature).argmax(-1)


def divides_the_logits(logits, temperature, generator):
    if temperature == 0:
        return logits.max(-1).indices
    return (logits.double() / temperature + _gumbel(logits.shape, generator)).argmax(-1)


def on_log_probabilities(logits, temperature, generator):
    if temperature == 0:
        return logits.argmax(-1)
    return (logits.log_softmax(-1) + temperature * _gumbel(logits.shape, generator)).argmax(-1)


def with_exponential_noise(logits, temperature, generator):
    if temperature == 0:
        return logits.argmax(-1)
    e = torch.empty(logits.shape, dtype=torch.float64).exponential_(generator=generator)
    return (logits - temperature * e.log()).argmax(-1)


def with_multinomial(logits, temperature, generator):
    if temperature == 0:
        return logits.argmax(-1)
    p = (logits.double() / temperature).softmax(-1)
    return torch.multinomial(p.flatten(0, 1), 1, generator=generator).view(logits.shape[:2])


RIGHT = [as_published, divides_the_logits, on_log_probabilities, with_exponential_noise, with_multinomial]
