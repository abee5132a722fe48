"""Exercise 14.3. Find the error of an account: teachers with no, one, two, many forwards."""

from collections.abc import Callable
from numbers import Real

from dlmlab.course.checks.expect import NOTHING, Cases, close, require
from dlmlab.course.exercises import Exercise


def check_plain_steps(fn: Callable) -> None:
    """Judge an answer to 14.3."""

    def run(steps: int, teacher_forwards: int) -> float:
        found = fn(steps, teacher_forwards)
        require(found is not None, NOTHING)
        require(isinstance(found, Real), f"the result is a {type(found).__name__}, it should be a number")
        return float(found)

    none = run(30, 0)
    require(close(none, 30), f"without a teacher 30 steps are 30 plain steps, not {none:.1f}")
    two = run(30, 2)
    for message, wrong in {
        "a teacher's forward has no backward: it costs a third of a plain step, not a whole one": 90,
        "the teacher's forwards are not counted: they cost something": 30,
        "a backward costs two forwards, as each matrix product needs two for its gradients": 60,
        "the teacher is asked twice a step, and both times count": 40,
        "distillation is dearer than plain training: the same cost buys more plain steps, not fewer": 18,
    }.items():
        require(not close(two, wrong), message)
    require(close(two, 50), f"30 steps of 3 + 2 forwards cost as much as 50 of 3, not {two:.1f}")
    require(close(run(7, 1), 28 / 3), "7 steps with one forward of a teacher are 28 thirds: not a whole number")
    draw = Cases(143)
    for _ in range(20):
        steps, forwards = draw.int(0, 400), draw.int(0, 9)
        found, right = run(steps, forwards), steps * (3 + forwards) / 3
        require(
            close(found, right),
            f"{steps} steps with {forwards} forwards of a teacher: {found:.2f} plain steps, it should be {right:.2f}",
        )


EXERCISE = Exercise(
    id="14.3",
    title="What a teacher costs: find the bug",
    minutes=5,
    difficulty=2,
    objective="Give a distilled model the control that it has to beat.",
    path="dlmlab.distill.plain_steps",
    kind="find the bug",
    stub='''\
def plain_steps(steps: int, teacher_forwards: int = 2) -> float:
    """Say how many steps of plain training cost as much as `steps` of distillation.

    A backward costs two forwards; the teacher's forwards have none.
    """
    return steps * (1 + teacher_forwards)  # every forward of the teacher is one more
''',
    hints=(
        "One more *what*? Write down the cost of a plain step in forwards.",
        "A plain step costs three forwards, one there and two back. With a teacher that is asked twice it is five.",
        "return steps * (3 + teacher_forwards) / 3",
    ),
    check=check_plain_steps,
)
