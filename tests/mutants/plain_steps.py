"""Answers to exercise 14.3."""


def counts_whole_steps(steps, teacher_forwards=2):
    return steps * (1 + teacher_forwards)


def forgets_the_teacher(steps, teacher_forwards=2):
    return float(steps)


def backward_as_dear_as_forward(steps, teacher_forwards=2):
    return steps * (2 + teacher_forwards) / 2


def counts_one_forward(steps, teacher_forwards=2):
    return steps * (3 + min(teacher_forwards, 1)) / 3


def the_other_way_round(steps, teacher_forwards=2):
    return steps * 3 / (3 + teacher_forwards)


def rounds_down(steps, teacher_forwards=2):
    return steps * (3 + teacher_forwards) // 3


def always_two(steps, teacher_forwards=2):
    return steps * 5 / 3 if teacher_forwards else float(steps)


def always_five_thirds(steps, teacher_forwards=2):
    return steps * 5 / 3


def returns_words(steps, teacher_forwards=2):
    return f"{steps * (3 + teacher_forwards) / 3}"


MUTANTS = {
    counts_whole_steps: "no backward",
    forgets_the_teacher: "not counted",
    backward_as_dear_as_forward: "two forwards",
    counts_one_forward: "asked twice",
    the_other_way_round: "dearer",
    rounds_down: "not a whole number",
    always_two: "28 thirds",
    always_five_thirds: "without a teacher",
    returns_words: "should be a number",
}


def right(steps, teacher_forwards=2):
    return steps * (3 + teacher_forwards) / 3


def in_forwards(steps, teacher_forwards=2):
    plain, distilled = 1 + 2, 1 + 2 + teacher_forwards
    return distilled * steps / plain


RIGHT = [right, in_forwards]
