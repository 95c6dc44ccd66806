"""What a report's records say in words."""

from __future__ import annotations

from grpo.reports.records import TrainingCourse


def test_a_course_in_words():
    course = TrainingCourse(
        ended="as asked", steps=3, planned=10, best_step=None,
        validation_loss_before=2.0, validation_loss=2.0, validation_loss_last=2.0,
    )  # fmt: skip
    assert course.sentence("trained on 9 texts") == (
        "Stopped as asked: trained on 9 texts, 3 steps of 10; loss on held-out ones was 2.00 nats a"
        " token before."
    )
