"""Made-up English text for calibrating eyes: prose and talk, and the names, dates, sums and codes that memories are about."""

from __future__ import annotations

import random

_PROSE = (
    "The harbour was dredged after two coal ships ran aground within a week.",
    "Her ledgers are still read by historians of the coast.",
    "He repaired clocks in winter and sold honey in summer.",
    "When the railway closed, the old station became a library.",
    "I would rather walk than wait for another bus in the rain.",
    "We have been meaning to paint the kitchen since the spring.",
    "You said that your sister prefers the window seat on long flights.",
    "They agreed to meet again once the results had been checked.",
    "A narrow path leads through the orchard to the mill by the river.",
    "Nobody knew why the lights had been left on all night.",
    "It took most of an afternoon to find a shop that still repaired radios.",
    "Please remind me to water the plants before the weekend.",
    "The committee voted for the smaller of the two proposals.",
    "What matters most is that everyone can hear the speaker.",
    "It's done! I'll call you when I'm home, don't wait up.",
    "They're illegal there, aren't they? I can't tell till it's in writing.",
    'He titled it "Still Life in Ochre" (oil, 1931) and never sold it.',
    "Oh wow, that's hilarious! We'd all love to visit; is it still free?",
    "The firm's Anglo-Irish wing armed, trained and commanded most forces.",
    "Will Bill fill the 1st tier, or is level 11 (i.e. the attic) full?",
    "She's vegetarian, he isn't: order the dal, the naan & two lassis.",
    "According to the charter, occasional concerts were acceptable.",
)
_FIRST = ("Ada", "Marek", "Ingrid", "Luis", "Yusuf", "Chloe", "Rajesh", "Margaret", "Tomasz",
          "Wei", "Fatima", "Owen", "Zoë", "José")  # fmt: skip
_LAST = ("Kowalska", "Hale", "Ortega", "Olsen", "Demir", "Nair", "Ferris", "Adeyemi", "Zhang",
         "Novak", "Quinn", "Berg", "Müller", "O'Neill")  # fmt: skip
_PLACES = ("Lyon", "Bergen", "Halifax", "Port Selden", "Krakow", "Valencia", "Dunmore", "Ghent", "Tampere", "Oporto")
_MONTHS = ("January", "March", "April", "June", "August", "October", "December")
_CODE = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"


def sample_text(words: int, *, seed: int = 0) -> str:
    """At least `words` words, half of the sentences prose and half facts. The same for the same seed."""
    rng = random.Random(seed)
    sentences: list[str] = []
    count = 0
    while count < words:
        sentences.append(rng.choice(_PROSE) if len(sentences) % 2 else _fact(rng))
        count += len(sentences[-1].split())
    return " ".join(sentences)


def _fact(rng: random.Random) -> str:
    name = f"{rng.choice(_FIRST)} {rng.choice(_LAST)}"
    hour = f"{rng.randint(10, 23)}:{rng.randint(10, 59)}"
    date = f"{rng.randint(1, 28)} {rng.choice(_MONTHS)} {rng.randint(1940, 2026)}"
    return rng.choice(
        (
            f"{name} was born in {rng.choice(_PLACES)} on {date}.",
            f"{name} owes {rng.randint(2, 99)},{rng.randint(100, 999)}.{rng.randint(10, 99)} euros since {date}.",
            f"Call {name} on +{rng.randint(20, 60)} {rng.randint(100, 999)} {rng.randint(10, 99)} {rng.randint(10, 99)}.",
            f"Booking {''.join(rng.choices(_CODE, k=6))} leaves {rng.choice(_PLACES)} at {hour}.",
            f"{name[:3].upper()}-{rng.randint(100, 999)}/{rng.choice(_CODE)} costs ${rng.randint(3, 90)}.50 (+7%).",
            f"The {rng.choice(_PLACES)} office has {rng.randint(12, 980)} staff and {rng.randint(2, 11)} lifts.",
        )
    )
