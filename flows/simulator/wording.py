"""Questions of the simulated world: invented people, teams and companies, real months and places, some hostile text."""

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from flows.simulator.chance import number
from flows.simulator.kinds import EventKind
from flows.simulator.vocabulary import (
    AWARDS,
    BILLS,
    CITIES,
    COINS,
    COMPANIES,
    FILMS,
    FIRST_NAMES,
    HOSTILE,
    LANDS,
    LAST_NAMES,
    LEAGUES,
    MASCOTS,
    OFFICES,
    PARTIES,
    ROCKETS,
)
from lake.clock import from_us

_HOSTILE_EVERY: Final = 23  # families to one with a hostile question, each time of another kind


@dataclass(frozen=True, slots=True)
class Words:
    """What an event and its markets are called; lists by member."""

    title: str
    questions: tuple[str, ...]
    labels: tuple[str, ...]
    outcomes: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Topic:
    """Which event is to be named: that of a family whose life ends at `close`."""

    kind: EventKind
    seed: int
    family: int
    turn: int
    members: int
    listed: datetime
    close: datetime

    def of(self, what: str, lasting: bool = False) -> int:
        """A number for one choice: the same for the whole family if it is lasting."""
        return number(self.seed, "words", self.family, what, -1 if lasting else self.turn)

    def pick(self, words: Sequence[str], what: str, lasting: bool = False, member: int = 0) -> str:
        """One of the words; other members get others, as long as there are enough."""
        return words[(self.of(what, lasting) + member) % len(words)]

    def person(self, what: str, member: int = 0, lasting: bool = False) -> str:
        """A name of two words."""
        first = FIRST_NAMES[(self.of(what + "1", lasting) + 7 * member) % len(FIRST_NAMES)]
        return f"{first} {LAST_NAMES[(self.of(what + '2', lasting) + 11 * member) % len(LAST_NAMES)]}"

    def team(self, what: str, member: int = 0) -> str:
        """A city and its animal."""
        city = self.of(what) % len(CITIES) + 5 * member
        return f"{CITIES[city % len(CITIES)]} {MASCOTS[(self.of('mascots', True) + city) % len(MASCOTS)]}"

    @property
    def day(self) -> str:
        """The last day of trading, in words."""
        return _day(self.close - timedelta(minutes=1))

    @property
    def month(self) -> str:
        """The month in which trading ends."""
        return f"{self.close:%B %Y}"


def words(topic: Topic, is_polymarket: bool) -> Words:
    """The venue's own words for the event; the venues ask the same in different words."""
    title, labels = _PHRASES[topic.kind.code](topic)
    outcomes = [("Yes", "No")] * topic.members
    if is_polymarket and topic.kind.code in ("5M", "15M"):
        outcomes = [("Up", "Down")]
    if is_polymarket and topic.kind.code == "GAME":
        sides = (topic.team("home"), topic.team("home", 1))
        outcomes = [sides, ("Over", "Under"), sides][: topic.members]
    questions = [_question(topic, title, label, is_polymarket) for label in labels]
    attack, victim = _attack(topic)
    if attack:
        questions[victim] = attack.replace("QUESTION", questions[victim])
        title = questions[victim] if topic.members == 1 else title
    return Words(title, tuple(questions), tuple(labels), tuple(outcomes))


def slug(text: str) -> str:
    """The words of a text, as an address has them, at most 80 characters."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain)[:80].strip("-") or "market"


def code(text: str) -> str:
    """A short name in capitals, as tickers have it."""
    plain = slug(text).replace("-", "").upper()
    return plain[:6]


def _question(topic: Topic, title: str, label: str, is_polymarket: bool) -> str:
    if topic.members == 1 and topic.kind.code not in _LABELLED:
        return title if is_polymarket else _reworded(title)
    if topic.kind.code == "GAME" and is_polymarket:
        return title if label == topic.team("home") else f"{title}: {label}"
    text = title.rstrip("?")
    if text.startswith("Who will "):
        return text.replace("Who will", f"Will {label}", 1) + "?" if is_polymarket else f"{text}? {label}"
    return f"{text}: {label}" + ("?" if is_polymarket else "")


def _reworded(title: str) -> str:
    return title.replace("Up or Down -", "price up:").replace("Will it rain", "Rain")


def _attack(topic: Topic) -> tuple[str, int]:
    """A hostile form, if the event has one, and the member whose question takes it."""
    place, rest = divmod(topic.family, _HOSTILE_EVERY)
    return (HOSTILE[place % len(HOSTILE)], place % topic.members) if rest == 5 else ("", 0)


def _day(moment: datetime) -> str:
    return f"{moment:%B} {moment.day}"


def _date(topic: Topic) -> str:
    return f"{topic.day}, {topic.close.year}"


def _steps(topic: Topic, first: float, step: float, form: str) -> list[str]:
    return [form.format(first + step * place) for place in range(topic.members)]


def _up_down(topic: Topic) -> tuple[str, list[str]]:
    coin = COINS[topic.family * 7 % len(COINS)]
    return f"{coin} Up or Down - {_day(topic.listed)}, {topic.listed:%H:%M}-{topic.close:%H:%M} UTC", ["Up"]


def _coin_ladder(topic: Topic) -> tuple[str, list[str]]:
    coin = COINS[topic.family * 7 % len(COINS)]
    start, step = 10 ** (topic.of("digits", True) % 4 + 1) * (1 + topic.of("price") % 900 / 100), 0.02
    labels = [f"${start * (1 + step * place):,.2f} or above" for place in range(topic.members)]
    when = f"{topic.day} at {topic.close:%H:%M} UTC" if topic.kind.code != "YEAR" else f"the end of {topic.month}"
    return f"{coin} price on {when}?", labels


def _temperature(topic: Topic) -> tuple[str, list[str]]:
    city = topic.pick(CITIES, "city", lasting=True)
    low = 20 + topic.of("degrees") % 60
    middle = [f"{low + 2 * place}-{low + 2 * place + 1}°F" for place in range(topic.members - 2)]
    labels = [f"{low - 1}°F or below", *middle, f"{low + 2 * (topic.members - 2)}°F or above"]
    return f"Highest temperature in {city} on {topic.day}?", labels


def _rain(topic: Topic) -> tuple[str, list[str]]:
    return f"Will it rain in {topic.pick(CITIES, 'city', lasting=True)} on {topic.day}?", ["Rain"]


def _warm(topic: Topic) -> tuple[str, list[str]]:
    labels = ["hottest on record", "second hottest on record", "third hottest on record"][: topic.members]
    return f"{topic.month} in {topic.pick(LANDS, 'land', lasting=True)}", labels


def _game(topic: Topic) -> tuple[str, list[str]]:
    home, away = topic.team("home"), topic.team("home", 1)
    labels = [home, f"O/U {topic.of('points') % 120 + 2.5}", f"Spread: {home} (-{topic.of('spread') % 9 + 1.5})"]
    return f"{home} vs. {away}", labels[: topic.members]


def _player(topic: Topic) -> tuple[str, list[str]]:
    what = topic.pick(("points", "assists", "rebounds", "yards", "shots", "saves"), "what", lasting=True)
    labels = _steps(topic, 4 + topic.of("count") % 20, 5, "{:.0f}+ " + what)
    return f"{topic.person('player')} ({topic.team('home')}) on {topic.day}", labels


def _season(topic: Topic) -> tuple[str, list[str]]:
    league = (
        f"{LEAGUES[topic.family % len(LEAGUES)]} {topic.pick(('Cup', 'Championship', 'Shield', 'Finals'), 'cup', True)}"
    )
    return f"Who will win the {topic.close.year} {league}?", [
        topic.team("city", place) for place in range(topic.members)
    ]


def _election(topic: Topic) -> tuple[str, list[str]]:
    office, place = topic.pick(OFFICES, "office", lasting=True), topic.pick(LANDS, "land", lasting=True)
    people = [topic.person("people", member) for member in range(topic.members)]
    return f"Who will win the {topic.month} election for {office} of {place}?", people


def _party(topic: Topic) -> tuple[str, list[str]]:
    parties = [topic.pick(PARTIES, "party", True, member) for member in range(topic.members)]
    return f"Who will win the most seats in {topic.pick(LANDS, 'land', lasting=True)} in {topic.month}?", parties


def _leave(topic: Topic) -> tuple[str, list[str]]:
    office, place = topic.pick(OFFICES, "office", lasting=True), topic.pick(LANDS, "land", lasting=True)
    return f"Will {topic.person('leader', lasting=True)} be {office} of {place} on {_date(topic)}?", ["Yes"]


def _bill(topic: Topic) -> tuple[str, list[str]]:
    labels = _steps(topic, 50 + topic.of("votes") % 20, 8, "with {:.0f}+ votes")
    return (
        f"{topic.pick(LANDS, 'land', lasting=True)} passes the {topic.pick(BILLS, 'bill')} Act by {_date(topic)}",
        labels,
    )


def _rate(topic: Topic) -> tuple[str, list[str]]:
    labels = ["No change", "25 bps cut", "25 bps hike", "50+ bps cut", "50+ bps hike"][: topic.members]
    return f"{topic.pick(LANDS, 'land', lasting=True)} central bank decision in {topic.month}", labels


def _inflation(topic: Topic) -> tuple[str, list[str]]:
    labels = _steps(topic, topic.of("rate", True) % 60 / 10 - 0.5, 0.1, "above {:.1f}%")
    return f"Annual inflation in {topic.pick(LANDS, 'land', lasting=True)}, {topic.month}", labels


def _peace(topic: Topic) -> tuple[str, list[str]]:
    first, second = topic.pick(LANDS, "lands", True), topic.pick(LANDS, "lands", True, 9)
    what = topic.pick(("sign a ceasefire", "open their border", "sign a trade deal", "restore embassies"), "what")
    labels = ["in any form", "for a week or longer", "for a month or longer", "for good"][: topic.members]
    return f"{first} and {second} {what} by {_date(topic)}", labels


def _award(topic: Topic) -> tuple[str, list[str]]:
    people = [topic.person("artists", member) for member in range(topic.members)]
    return f"Who will win {topic.pick(AWARDS, 'award', lasting=True)} in {topic.close.year}?", people


def _film(topic: Topic) -> tuple[str, list[str]]:
    labels = _steps(topic, 10 + topic.of("gross") % 90, 10, "above ${:.0f}m")
    return f'"{topic.pick(FILMS, "film")} {topic.of("part") % 5 + 2}" opening weekend, {topic.month}', labels


def _model(topic: Topic) -> tuple[str, list[str]]:
    makers = [topic.pick(COMPANIES, "makers", True, 3 * member) for member in range(topic.members)]
    what = topic.pick(("AI model", "coding model", "image model", "small model", "speech model"), "what", lasting=True)
    return f"Who will have the best {what} at the end of {topic.month}?", makers


def _launch(topic: Topic) -> tuple[str, list[str]]:
    company, rocket = topic.pick(COMPANIES, "company", True), topic.pick(ROCKETS, "rocket")
    labels = ["at least once", "at least twice", "at least three times"][: topic.members]
    return f"{company} launches {rocket} {topic.of('mark') % 9 + 1} to orbit by {_date(topic)}", labels


def _earnings(topic: Topic) -> tuple[str, list[str]]:
    company = COMPANIES[topic.family * 7 % len(COMPANIES)]
    return f"Will {company} beat quarterly earnings on {topic.day}?", ["Beat"]


def _shares(topic: Topic) -> tuple[str, list[str]]:
    company = COMPANIES[topic.family * 7 % len(COMPANIES)]
    labels = _steps(topic, 20 + topic.of("price") % 400, 10, "above ${:.0f}")
    return f"{company} closing price on {topic.day}", labels


_LABELLED: Final = {"PEACE", "BILL", "LAUNCH", "WARM"}  # say what is asked only with their labels

_PHRASES: Final[dict[str, Callable[[Topic], tuple[str, list[str]]]]] = {
    "5M": _up_down,
    "15M": _up_down,
    "HOUR": _coin_ladder,
    "DAY": _coin_ladder,
    "YEAR": _coin_ladder,
    "HIGH": _temperature,
    "RAIN": _rain,
    "WARM": _warm,
    "GAME": _game,
    "PLAYER": _player,
    "SEASON": _season,
    "ELECT": _election,
    "PARTY": _party,
    "LEAVE": _leave,
    "BILL": _bill,
    "RATE": _rate,
    "CPI": _inflation,
    "PEACE": _peace,
    "AWARD": _award,
    "FILM": _film,
    "MODEL": _model,
    "LAUNCH": _launch,
    "EARN": _earnings,
    "SHARE": _shares,
}


def topic_of(kind: EventKind, seed: int, family: int, turn: int, members: int, listed: int, close: int) -> Topic:
    """The topic of a family's turn; times in microseconds."""
    return Topic(kind, seed, family, turn, members, from_us(listed), from_us(close))
