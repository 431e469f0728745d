"""Numbers, dates and ages in English words and in French ones: the data of the translation checkpoint.

Written for this project. The translation is a rule, so every number has exactly one. French is spelt as before 1990:
hyphens below a hundred, except around "et"; "cents" and "quatre-vingts" with an s where nothing follows. English is
British: "two hundred and five".
"""

from collections.abc import Callable
from random import Random
from typing import NamedTuple

from tests.checkpoints.train.lexicon import items

UNITS = items("""
    zero | one | two | three | four | five | six | seven | eight | nine | ten | eleven | twelve | thirteen | fourteen |
    fifteen | sixteen | seventeen | eighteen | nineteen
""")
TENS = items("twenty | thirty | forty | fifty | sixty | seventy | eighty | ninety")
ORDINALS = items("""
    first | second | third | fourth | fifth | sixth | seventh | eighth | ninth | tenth | eleventh | twelfth |
    thirteenth | fourteenth | fifteenth | sixteenth | seventeenth | eighteenth | nineteenth | twentieth |
    twenty-first | twenty-second | twenty-third | twenty-fourth | twenty-fifth | twenty-sixth | twenty-seventh |
    twenty-eighth | twenty-ninth | thirtieth | thirty-first
""")
UNITES = items("""
    zéro | un | deux | trois | quatre | cinq | six | sept | huit | neuf | dix | onze | douze | treize | quatorze |
    quinze | seize | dix-sept | dix-huit | dix-neuf
""")
DIZAINES = items("vingt | trente | quarante | cinquante | soixante")
MONTHS = items("""
    January | February | March | April | May | June | July | August | September | October | November | December
""")
MOIS = items("""
    janvier | février | mars | avril | mai | juin | juillet | août | septembre | octobre | novembre | décembre
""")
DAYS = items("Monday | Tuesday | Wednesday | Thursday | Friday | Saturday | Sunday")
JOURS = items("lundi | mardi | mercredi | jeudi | vendredi | samedi | dimanche")
# English noun, French noun, feminine.
NOUNS = (
    ("book", "livre", False),
    ("table", "table", True),
    ("car", "voiture", True),
    ("letter", "lettre", True),
    ("house", "maison", True),
    ("dog", "chien", False),
    ("key", "clé", True),
    ("garden", "jardin", False),
    ("rabbit", "lapin", False),
    ("chair", "chaise", True),
)
HELDOUT_SHARE = 8  # one number in so many, of those above a hundred, and one date


class Pair(NamedTuple):
    """A text and its translation."""

    english: str
    french: str


def english(n: int) -> str:
    """0 to 999,999 in English."""
    if n < 20:
        return UNITS[n]
    if n < 100:
        return TENS[n // 10 - 2] + (f"-{UNITS[n % 10]}" if n % 10 else "")
    if n < 1000:
        return f"{UNITS[n // 100]} hundred" + (f" and {english(n % 100)}" if n % 100 else "")
    rest = n % 1000
    link = " and " if 0 < rest < 100 else " "
    return f"{english(n // 1000)} thousand" + (link + english(rest) if rest else "")


def french(n: int, feminine: bool = False, last: bool = True) -> str:
    """0 to 999,999 in French. last: nothing follows within the number, so "cents" and "quatre-vingts" have their s."""
    if n < 100:
        return _below_hundred(n, feminine, last)
    if n < 1000:
        hundreds = "cent" if n < 200 else f"{UNITES[n // 100]} cent"
        if n % 100:
            return f"{hundreds} {_below_hundred(n % 100, feminine, last)}"
        return hundreds + ("s" if n >= 200 and last else "")
    thousands = "mille" if n < 2000 else f"{french(n // 1000, last=False)} mille"
    return thousands + (f" {french(n % 1000, feminine, last)}" if n % 1000 else "")


def _below_hundred(n: int, feminine: bool, last: bool) -> str:
    if n == 1 and feminine:
        return "une"
    if n < 20:
        return UNITES[n]
    if n >= 80:
        rest = n - 80
        if not rest:
            return "quatre-vingts" if last else "quatre-vingt"
        return f"quatre-vingt-{'une' if rest == 1 and feminine else UNITES[rest]}"
    tens = min(n // 10, 6)
    rest = n - 10 * tens
    if not rest:
        return DIZAINES[tens - 2]
    if rest in (1, 11):
        return f"{DIZAINES[tens - 2]} et {'une' if rest == 1 and feminine else UNITES[rest]}"
    return f"{DIZAINES[tens - 2]}-{UNITES[rest]}"


def english_year(year: int) -> str:
    """A year as it is said: nineteen eighty-four, nineteen oh five, two thousand and eight, twenty ten."""
    if year % 1000 < 10:
        return english(year)
    century, rest = divmod(year, 100)
    if not rest:
        return f"{english(century)} hundred"
    return f"{english(century)} {'oh ' if rest < 10 else ''}{english(rest)}"


def number(random: Random, heldout: bool) -> int:
    """Small and large numbers alike; held-out ones are never trained on."""
    while True:
        n = random.randrange(10 ** random.choice((2, 3, 4, 5, 6, 6)))
        if heldout == is_heldout(n) and not (heldout and n < 100):
            return n


def is_heldout(n: int) -> bool:
    """Whether a number is set aside."""
    return n >= 100 and n * 2654435761 % 2**32 % HELDOUT_SHARE == 0


def _plain(random: Random, heldout: bool) -> Pair:
    n = number(random, heldout)
    return Pair(english(n), french(n))


def _counted(random: Random, heldout: bool) -> Pair:
    n = number(random, heldout)
    noun, nom, feminine = random.choice(NOUNS)
    subject, sujet = random.choice((("I have", "J'ai"), ("She has", "Elle a"), ("We see", "Nous voyons")))
    plural, pluriel = ("" if n == 1 else "s"), ("" if n < 2 else "s")
    return Pair(f"{subject} {english(n)} {noun}{plural}.", f"{sujet} {french(n, feminine)} {nom}{pluriel}.")


def _price(random: Random, heldout: bool) -> Pair:
    n = number(random, heldout)
    return Pair(
        f"It costs {english(n)} euro{'' if n == 1 else 's'}.", f"Ça coûte {french(n)} euro{'' if n < 2 else 's'}."
    )


def _date(random: Random, heldout: bool) -> Pair:
    while True:
        day, month, year = random.randint(1, 28), random.randrange(12), random.randint(1700, 2029)
        if heldout == is_heldout(100 + day + 100 * month + 10000 * (year - 1700)):
            break
    weekday = random.randrange(7)
    le = "premier" if day == 1 else french(day)
    date, datum = f"the {ORDINALS[day - 1]} of {MONTHS[month]}", f"{le} {MOIS[month]}"
    year_words, annee = english_year(year), french(year)
    if random.random() < 0.5:
        return Pair(f"{date}, {year_words}", f"le {datum} {annee}")
    return Pair(f"{DAYS[weekday]}, {date}, {year_words}", f"{JOURS[weekday]} {datum} {annee}")


FORMS: tuple[Callable[[Random, bool], Pair], ...] = (_plain, _plain, _counted, _price, _date)


def pair(random: Random, heldout: bool = False) -> Pair:
    """A number, a sentence around one, or a date. Held-out numbers and dates never appear in training."""
    return random.choice(FORMS)(random, heldout)
