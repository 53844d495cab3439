"""Schedules: what a cron expression names, also on the days on which clocks are changed."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voiceagent_operator.api.autoscaling import Autoscaling
from voiceagent_operator.api.cron import PATTERN, parse
from voiceagent_operator.policy import Policy, policy

BERLIN, HAVANA = ZoneInfo("Europe/Berlin"), ZoneInfo("America/Havana")
LONG_AGO = timedelta(days=400)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def latest(text: str, until: str, zone: ZoneInfo = BERLIN) -> datetime | None:
    return parse(text).latest(zone, utc(until), utc(until) - LONG_AGO)


def following(text: str, after: str, zone: ZoneInfo = BERLIN, days: int = 400) -> datetime | None:
    return parse(text).next(zone, utc(after), utc(after) + timedelta(days=days))


def scheduled(*schedules: dict[str, object], least: int = 1) -> Policy:
    asked = {"minReplicas": least, "maxReplicas": 100, "schedules": list(schedules)}
    return policy(Autoscaling.model_validate(asked), 8)


def office(**changes: object) -> dict[str, object]:
    hours = {"name": "office", "start": "0 8 * * MON-FRI", "duration": "10h", "timeZone": "Europe/Berlin"}
    return {**hours, "minReplicas": 5, **changes}


@pytest.mark.parametrize(
    ("text", "until", "expected"),
    [
        ("30 7 * * *", "2026-11-25T12:00", "2026-11-25T06:30"),
        ("30 7 * * *", "2026-11-25T06:30", "2026-11-25T06:30"),
        ("30 7 * * *", "2026-11-25T06:29", "2026-11-24T06:30"),
        ("0 8 * * MON-FRI", "2026-11-23T06:59", "2026-11-20T07:00"),
        ("0 8 * * 1-5", "2026-11-23T07:00", "2026-11-23T07:00"),
        ("0 8 * * 0", "2026-11-25T12:00", "2026-11-22T07:00"),
        ("0 8 * * 7", "2026-11-25T12:00", "2026-11-22T07:00"),
        ("0 8 1 * *", "2026-11-25T12:00", "2026-11-01T07:00"),
        ("0 8 1,24 * SUN", "2026-11-25T12:00", "2026-11-24T07:00"),
        ("0 8 */10 * TUE", "2026-11-25T12:00", None),
        ("*/20 9-17/4 * * *", "2026-11-25T23:00", "2026-11-25T16:40"),
        ("50/5 * * * *", "2026-11-25T12:00", "2026-11-25T11:55"),
        ("0 0 29 FEB *", "2028-12-01T00:00", "2028-02-28T23:00"),
        ("0 12 31 JAN,MAR *", "2026-11-25T00:00", "2026-03-31T10:00"),
    ],
)
def test_the_latest_time_that_an_expression_names(text: str, until: str, expected: str | None) -> None:
    if expected is None:
        assert parse(text).latest(BERLIN, utc(until), utc(until) - timedelta(days=1)) is None
    else:
        assert latest(text, until) == utc(expected)


@given(st.integers(0, 59), st.integers(0, 23), st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31)))
def test_latest_and_next_enclose_each_moment(minute: int, hour: int, moment: datetime) -> None:
    now, daily = moment.replace(tzinfo=UTC), parse(f"{minute} {hour} * * *")
    before, after = daily.latest(BERLIN, now, now - LONG_AGO), daily.next(BERLIN, now, now + LONG_AGO)
    assert before is not None
    assert after is not None
    assert before <= now < after
    assert timedelta(minutes=59) < after - before < timedelta(hours=26)


def test_a_time_that_the_clock_leaves_out_comes_as_much_later_as_the_clock_jumps() -> None:
    # 29 March 2026: 02:00 becomes 03:00 in Berlin, and 00:00 becomes 01:00 on 8 March in Havana.
    assert following("30 2 * * *", "2026-03-28T12:00") == utc("2026-03-29T01:30"), "03:30 by the clock"
    assert following("30 2 * * *", "2026-03-29T12:00") == utc("2026-03-30T00:30"), "02:30 again"
    assert following("15 0 * * *", "2026-03-07T12:00", HAVANA) == utc("2026-03-08T05:15")
    assert latest("0 3 * * *", "2026-03-29T12:00") == utc("2026-03-29T01:00")


def test_a_time_that_comes_twice_counts_twice() -> None:
    # 25 October 2026: 03:00 becomes 02:00 in Berlin.
    first, second = utc("2026-10-25T00:30"), utc("2026-10-25T01:30")
    assert following("30 2 * * *", "2026-10-24T12:00") == first
    assert following("30 2 * * *", "2026-10-25T00:30") == second
    assert latest("30 2 * * *", "2026-10-25T12:00") == second


@pytest.mark.parametrize("day", ["2026-03-28", "2026-03-29", "2026-10-25", "2026-11-25"])
def test_an_hour_that_begins_each_hour_has_no_gap_whatever_the_clock_does(day: str) -> None:
    rule = scheduled(office(start="30 * * * *", duration="1h"))
    times = [utc(f"{day}T00:00") + timedelta(minutes=7 * n) for n in range(206)]
    assert {rule.floor(time, timedelta(0)).replicas for time in times} == {5}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0 8 * *", "must be five fields"),
        ("60 8 * * *", "minute has '60', which is not from 0 to 59"),
        ("0 24 * * *", "hour has '24'"),
        ("0 8 0 * *", "day of the month has '0'"),
        ("0 8 * 13 *", "month has '13'"),
        ("0 8 * * FRI-MON", "day of the week has the range FRI-MON, which ends before it begins"),
        ("0 8 * * MO", "day of the week has 'MO'"),
        ("*/0 8 * * *", "minute has the step '0'"),
        ("1,,2 8 * * *", "minute has ''"),
        ("0 8 30 2 *", "names a day that none of its months has"),
        ("0 8 31 4,6 *", "names a day that none of its months has"),
        ("² 8 * * *", "minute has '²'"),
        ("@daily", "must be five fields"),
    ],
)
def test_an_expression_that_means_nothing_is_refused_in_words(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        parse(text)


ATOMS = st.sampled_from(["*", "0", "5", "7", "12", "31", "59", "60", "99", "MON", "JAN", "x", "-1", "05", "1.5"])
ITEMS = st.one_of(
    ATOMS, st.builds("{}-{}".format, ATOMS, ATOMS), st.builds("{}/{}".format, ATOMS, st.sampled_from("0123x"))
)
FIELD_TEXTS = st.lists(ITEMS, min_size=1, max_size=2).map(",".join)


@given(st.lists(FIELD_TEXTS, min_size=4, max_size=6).map(" ".join))
def test_the_api_server_refuses_nothing_that_python_understands(text: str) -> None:
    try:
        parse(text)
    except ValueError:
        return
    assert re.match(PATTERN, text)


@pytest.mark.parametrize("zone", ["Mars/Olympus", "Europe", "../../etc/passwd", "/etc/localtime"])
def test_an_unknown_time_zone_is_refused(zone: str) -> None:
    with pytest.raises(ValueError, match=r"timeZone"):
        scheduled(office(timeZone=zone))


def test_a_schedule_raises_the_minimum_from_before_its_start_until_its_end() -> None:
    rule, lead = scheduled(office(), least=2), timedelta(minutes=2)
    monday = "2026-11-23"
    seen = {time: rule.floor(utc(f"{monday}T{time}"), lead) for time in ("06:57", "06:58", "12:00", "16:59", "17:00")}
    assert [each.replicas for each in seen.values()] == [2, 5, 5, 5, 2]
    assert seen["06:57"].changes == utc(f"{monday}T06:58"), "early, by the time that workers take"
    assert (seen["06:58"].schedule, seen["06:58"].begins) == ("office", utc(f"{monday}T07:00"))
    assert seen["12:00"].changes == utc(f"{monday}T17:00")
    assert seen["17:00"].changes == utc("2026-11-24T06:58")


def test_of_schedules_that_hold_the_highest_counts() -> None:
    rule = scheduled(office(), office(name="sale", start="0 12 23 11 *", duration="1h", minReplicas=9), least=6)
    assert rule.floor(utc("2026-11-23T10:00"), timedelta(0)).replicas == 6, "the minimum is higher than the schedule"
    sale = rule.floor(utc("2026-11-23T11:30"), timedelta(0))
    assert (sale.replicas, sale.schedule, sale.changes) == (9, "sale", utc("2026-11-23T12:00"))
