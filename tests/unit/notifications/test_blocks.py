"""Slack's limits and Slack's control characters."""

import pytest

from spoqplus_backup.notifications import blocks


def test_control_characters_are_escaped() -> None:
    assert blocks.escape("Access denied for <app>@'%' & <!channel>") == (
        "Access denied for &lt;app&gt;@'%' &amp; &lt;!channel&gt;"
    )


@pytest.mark.parametrize("label", ["a|b", "x>y"])
def test_a_link_can_not_be_broken(label: str) -> None:
    made = blocks.link("http://airflow/dags/d/runs/a|b>c?x=1&y=2", label)
    assert made.startswith("<http://airflow/dags/d/runs/a%7Cb&gt;c?x=1&amp;y=2|")
    assert made.count(">") == 1


def test_a_header_is_cut_to_what_slack_takes() -> None:
    made = blocks.header("가" * 200)["text"]["text"]
    assert len(made) == 150
    assert made.endswith("…")


def test_no_more_than_ten_fields() -> None:
    made = blocks.fields((str(number), "x") for number in range(12))
    assert [field["text"] for field in made["fields"]] == [f"*{number}*\nx" for number in range(10)]


def test_a_list_keeps_whole_lines_within_the_limit() -> None:
    made = blocks.bullets("Failed", ["x" * 900] * 5)["text"]["text"]
    assert len(made) <= 3000
    assert [len(line) for line in made.splitlines()[1:]] == [902] * 3
