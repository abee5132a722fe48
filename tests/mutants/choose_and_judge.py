"""Answers to exercise 5.5."""


def _harness(candidates, make, loss, splits, *, by="calibration", choose="validation", judge="test", best=min):
    made = {name: make(name, splits[by]) for name in candidates}
    losses = {name: loss(made[name], splits[choose]) for name in candidates}
    name = best(losses, key=losses.__getitem__)
    return name, loss(made[name], splits[judge])


def made_from_test(candidates, make, loss, splits):
    return _harness(candidates, make, loss, splits, by="test")


def made_from_validation(candidates, make, loss, splits):
    return _harness(candidates, make, loss, splits, by="validation")


def chosen_on_test(candidates, make, loss, splits):
    return _harness(candidates, make, loss, splits, choose="test")


def chosen_on_calibration(candidates, make, loss, splits):
    return _harness(candidates, make, loss, splits, choose="calibration")


def judged_on_validation(candidates, make, loss, splits):
    return _harness(candidates, make, loss, splits, judge="validation")


def highest_loss(candidates, make, loss, splits):
    return _harness(candidates, make, loss, splits, best=max)


def made_from_both(candidates, make, loss, splits):
    made = {name: make(name, splits["calibration"]) for name in candidates}
    losses = {name: loss(made[name], splits["validation"]) for name in candidates}
    best = min(losses, key=losses.__getitem__)
    again = make(best, splits["validation"])
    return best, loss(again, splits["test"])


def reports_the_minimum(candidates, make, loss, splits):
    made = {name: make(name, splits["calibration"]) for name in candidates}
    losses = {name: loss(made[name], splits["validation"]) for name in candidates}
    best = min(losses, key=losses.__getitem__)
    loss(made[best], splits["test"])
    return best, losses[best]


def reports_all_of_test(candidates, make, loss, splits):
    made = {name: make(name, splits["calibration"]) for name in candidates}
    tested = {name: loss(made[name], splits["test"]) for name in candidates}
    best = min(candidates, key=lambda name: loss(made[name], splits["validation"]))
    return best, tested[best]


def first_one(candidates, make, loss, splits):
    made = make(candidates[0], splits["calibration"])
    return candidates[0], loss(made, splits["test"])


def name_only(candidates, make, loss, splits):
    return _harness(candidates, make, loss, splits)[0]


def at_most_four(candidates, make, loss, splits):
    return _harness(candidates[:4], make, loss, splits)


MUTANTS = {
    made_from_test: "made from test texts",
    made_from_validation: "made from validation texts",
    chosen_on_test: "second validation",
    chosen_on_calibration: "they were made from",
    judged_on_validation: "nothing was judged on the test split",
    highest_loss: "low when it is good",
    made_from_both: "made from validation texts",
    reports_the_minimum: "too good",
    reports_all_of_test: "second validation",
    first_one: "every candidate",
    name_only: "two things",
    at_most_four: "every candidate",
}


def in_one_loop(candidates, make, loss, splits):
    best, lowest, kept = None, float("inf"), None
    for name in candidates:
        model = make(name, splits["calibration"])
        if (value := loss(model, splits["validation"])) < lowest:
            best, lowest, kept = name, value, model
    return best, loss(kept, splits["test"])


def by_pairs(candidates, make, loss, splits):
    models = [make(name, splits["calibration"]) for name in candidates]
    losses = [loss(model, splits["validation"]) for model in models]
    at = losses.index(min(losses))
    return list(candidates)[at], loss(models[at], splits["test"])


RIGHT = [in_one_loop, by_pairs]
