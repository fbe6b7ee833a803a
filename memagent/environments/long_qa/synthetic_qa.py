"""Made-up worlds: people, companies and towns, facts about them, and questions that follow a chain of facts.

A world of its own is drawn for every question, so nothing can be learnt by heart but the shape of names. Each entity has at
most one value for each relation, so a chain has one answer. A fact is one sentence: subject first, value last, words without
meaning between, so that its length is a free parameter. Same seed, same questions.

The splits share no entity: a name is a run of syllables from one inventory, and the sum of their places in it says which
split may use it. So a policy that reads syllables meets in `dev` and `test` names it has never seen, made of parts it knows.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product

from memagent.errors import InputError

SPLITS = ("train", "dev", "test")
_SHARES = 10
_SPLIT_OF = {8: "dev", 9: "test"}
"""Which split a name belongs to by the sum of its syllables' places, modulo `_SHARES`; all others are `train`'s."""

SYLLABLES = ("ba", "do", "fe", "gu", "ka", "le", "mo", "nu", "pa", "re", "so", "ta", "ve", "wo", "ze", "ju")
ENDINGS = {
    "person": ("bert", "dan", "mar", "rick"),
    "company": ("corp", "works", "tech", "lab"),
    "town": ("ton", "burg", "ford", "dale"),
}
FIRST_YEAR, LAST_YEAR = 1850, 1999


@dataclass(frozen=True)
class Relation:
    """What can be said of an entity."""

    name: str
    """As it stands in a sentence between subject and value."""
    subject: str
    """Kind of entity that has it: `person`, `company` or `town`."""
    value: str
    """Kind of its value: an entity, or `year`."""
    question: str
    """Asks for the value of {}."""
    phrase: str = ""
    """Names the value of {} within a longer question; "" where no chain goes on from it."""


RELATIONS = {
    one.name: one
    for one in (
        Relation("works at", "person", "company", "Which company does {} work at?", "the company where {} works"),
        Relation("lives in", "person", "town", "In which town does {} live?"),
        Relation("was mentored by", "person", "person", "Who mentored {}?", "the mentor of {}"),
        Relation("was born in", "person", "year", "In which year was {} born?"),
        Relation("is based in", "company", "town", "In which town is {} based?"),
        Relation("was founded in", "company", "year", "In which year was {} founded?"),
    )
}
MOST_HOPS = 4

_FILLERS = (
    "as the old paper of the county once told its readers",
    "so the register says in a hand that few can still make out",
    "which nobody at the long table found worth a second look",
    "though the summer was wet and the roads were slow that year",
    "if one may trust a note that was kept in a drawer of the hall",
    "as a clerk wrote down between two lists of lamps and chairs",
    "while the bells of the square were being cast for a new tower",
    "and no letter that we know of says a word against it",
    "by all that was put on record at the time of the great fair",
    "to the surprise of some and the quiet joy of many others",
    "so it is said",
    "as was usual at the time",
    "which is well known",
    "though not at first",
    "after a long winter",
    "and gladly so",
)
_SPARE = 5
"""Characters by which a sentence may be longer than asked for."""


@dataclass(frozen=True)
class WorldFact:
    """One value of one relation, and the sentence that says it."""

    subject: str
    relation: str
    value: str
    sentence: str


@dataclass(frozen=True)
class WorldQuestion:
    """A question about a world of its own."""

    id: str
    text: str
    answer: str
    relations: tuple[str, ...]
    """Names of the relations that lead from the entity in the question to the answer."""
    facts: tuple[WorldFact, ...]
    """All that is told of the world, in the order in which it is told."""
    chain: tuple[int, ...]
    """Places in `facts` of the evidence, in the order of the hops; the value of the last is the answer."""

    @property
    def start(self) -> str:
        """The entity that the question names."""
        return self.facts[self.chain[0]].subject


@dataclass(frozen=True, kw_only=True)
class WorldSettings:
    """Size and shape of a world. Raises `InputError` for values that no world can have."""

    facts: int = 18
    """Facts told of each world, evidence included."""
    hops: tuple[int, ...] = (1, 2, 3)
    """Lengths of chains, each equally likely; 1 to 4."""
    sentence_chars: int = 120
    """About so many characters has a sentence; one without filler has some 30."""
    people: int = 6
    companies: int = 3
    towns: int = 4

    def __post_init__(self) -> None:
        if not self.hops or not all(1 <= one <= MOST_HOPS for one in self.hops):
            raise InputError(f"`hops` is {self.hops}; give one or more lengths from 1 to {MOST_HOPS}")
        if self.people < MOST_HOPS + 1 or self.companies < 1 or self.towns < 1:
            raise InputError(
                f"a world has {self.people} people, {self.companies} companies and {self.towns} towns; "
                f"it needs at least {MOST_HOPS + 1} people and one each of the others"
            )
        most = 4 * self.people + 2 * self.companies
        if not max(self.hops) <= self.facts <= most:
            raise InputError(f"`facts` is {self.facts}; this world has room for {max(self.hops)} to {most}")


@cache
def chains(hops: int) -> tuple[tuple[str, ...], ...]:
    """All runs of relations that a question of so many hops can follow, from a person on."""

    def onward(kind: str, left: int) -> Iterator[tuple[str, ...]]:
        for one in RELATIONS.values():
            if one.subject != kind:
                continue
            if left == 1:
                yield (one.name,)
            elif one.phrase:
                yield from ((one.name, *rest) for rest in onward(one.value, left - 1))

    return tuple(onward("person", hops))


@cache
def names(kind: str, split: str) -> tuple[str, ...]:
    """All names of a kind (`person`, `company`, `town`) that a split may use; no two splits share one."""
    if split not in SPLITS:
        raise InputError(f"split `{split}` is unknown; one of: {', '.join(SPLITS)}")
    endings = ENDINGS[kind]
    found = []
    for first, second in product(range(len(SYLLABLES)), repeat=2):
        for last in range(len(endings)):
            if first != second and _SPLIT_OF.get((first + 3 * second + 7 * last) % _SHARES, "train") == split:
                found.append((SYLLABLES[first] + SYLLABLES[second] + endings[last]).capitalize())
    return tuple(found)


def world_questions(n: int, *, split: str, seed: int, settings: WorldSettings | None = None) -> list[WorldQuestion]:
    """`n` questions, each about a world of its own. Raises `InputError` for an unknown split.

    The first of n + 1 questions are the n questions: a longer set begins with the shorter one.
    """
    shape = settings or WorldSettings()
    return [_question(f"{split}-{seed}-{number}", split, shape) for number in range(n)]


def worlds_beside(question: WorldQuestion, n: int, *, split: str, settings: WorldSettings | None = None) -> list[WorldQuestion]:
    """`n` further worlds, to be told in one text with that of `question`: no two of all these share an entity.

    Same question, same worlds; the first of n + 1 are the n. Raises `InputError` where the split has too few names.
    """
    shape = settings or WorldSettings()
    taken = _entities_of(question)
    found: list[WorldQuestion] = []
    for number in range(n):
        found.append(_question(f"{question.id}/{number}", split, shape, taken))
        taken |= _entities_of(found[-1])
    return found


def _entities_of(question: WorldQuestion) -> frozenset[str]:
    """All names that stand in the text of a world."""
    return frozenset(name for one in question.facts for name in (one.subject, one.value))


def follow(facts: Sequence[WorldFact], start: str, relations: Sequence[str]) -> str | None:
    """Where the relations lead from an entity by these facts; None when a fact is missing."""
    known = {(one.subject, one.relation): one.value for one in facts}
    at: str | None = start
    for relation in relations:
        at = known.get((at, relation)) if at is not None else None
    return at


def question_text(start: str, relations: Sequence[str]) -> str:
    """The question that a chain of relations from an entity answers."""
    about = start
    for name in relations[:-1]:
        about = RELATIONS[name].phrase.format(about)
    return RELATIONS[relations[-1]].question.format(about)


def _question(id: str, split: str, settings: WorldSettings, taken: frozenset[str] = frozenset()) -> WorldQuestion:
    draw = random.Random(f"world:{id}")
    relations = draw.choice(chains(draw.choice(settings.hops)))
    entities = _entities(draw, split, settings, taken)
    values = _values(draw, entities)
    start = entities["person"][0]
    chain, at = [], start
    for relation in relations:
        chain.append((at, relation))
        at = values[at, relation]
    others = [key for key in values if key not in chain]
    told = [*chain, *draw.sample(others, settings.facts - len(chain))]
    draw.shuffle(told)
    facts = tuple(_fact(draw, subject, relation, values[subject, relation], settings) for subject, relation in told)
    places = tuple(told.index(key) for key in chain)
    return WorldQuestion(id, question_text(start, relations), at, relations, facts, places)


def _entities(draw: random.Random, split: str, settings: WorldSettings, taken: frozenset[str]) -> dict[str, list[str]]:
    """The entities of a world, none of them taken."""
    sizes = {"person": settings.people, "company": settings.companies, "town": settings.towns}
    free = {kind: [name for name in names(kind, split) if name not in taken] for kind in sizes}
    for kind, size in sizes.items():
        if size > len(free[kind]):
            raise InputError(
                f"split `{split}` has no {size} names of kind `{kind}` left for one more world; join fewer of them"
            )
    return {kind: draw.sample(free[kind], size) for kind, size in sizes.items()}


def _values(draw: random.Random, entities: dict[str, list[str]]) -> dict[tuple[str, str], str]:
    """A value for every entity and relation. Mentors form one circle, so that no chain of four comes back to its start."""
    circle = entities["person"]
    pick: dict[str, Callable[[str], str]] = {
        "person": lambda subject: circle[(circle.index(subject) + 1) % len(circle)],
        "company": lambda _: draw.choice(entities["company"]),
        "town": lambda _: draw.choice(entities["town"]),
        "year": lambda _: str(draw.randint(FIRST_YEAR, LAST_YEAR)),
    }
    return {(subject, one.name): pick[one.value](subject) for one in RELATIONS.values() for subject in entities[one.subject]}


def _fact(draw: random.Random, subject: str, relation: str, value: str, settings: WorldSettings) -> WorldFact:
    said = f"{relation} {value}."
    filler: list[str] = []
    for words in draw.sample(_FILLERS, len(_FILLERS)):
        if sum(len(one) + 2 for one in [subject, *filler, words]) + len(said) <= settings.sentence_chars + _SPARE:
            filler.append(words)
    return WorldFact(subject, relation, value, ", ".join([subject, *filler, said]) if filler else f"{subject} {said}")
