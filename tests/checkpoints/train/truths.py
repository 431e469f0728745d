"""True English sentences with one word that follows from the others: the data of the fill-mask checkpoint.

Written for this project: weekdays, months, small sums, opposites, capitals, colours, kinds of things, animals. A fact
has several wordings; some pairs of fact and wording are held out, so that a held-out sentence was never seen, but what
it says was, in other words.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from random import Random
from zlib import crc32

from tests.checkpoints.train.lexicon import items

MASK = "[MASK]"
HELDOUT_SHARE = 7  # one sentence in so many
DAYS = items("monday | tuesday | wednesday | thursday | friday | saturday | sunday")
MONTHS = items("""
    january | february | march | april | may | june | july | august | september | october | november | december
""")
NUMBERS = items("""
    zero | one | two | three | four | five | six | seven | eight | nine | ten | eleven | twelve | thirteen | fourteen |
    fifteen | sixteen | seventeen | eighteen | nineteen | twenty
""")
ORDINALS = items("""
    first | second | third | fourth | fifth | sixth | seventh | eighth | ninth | tenth | eleventh | twelfth
""")
CAPITALS = items("""
    france paris | italy rome | spain madrid | germany berlin | austria vienna | portugal lisbon | greece athens |
    norway oslo | sweden stockholm | finland helsinki | denmark copenhagen | poland warsaw | hungary budapest |
    ireland dublin | russia moscow | japan tokyo | egypt cairo | kenya nairobi | peru lima | chile santiago |
    cuba havana | canada ottawa | turkey ankara | iran tehran | iraq baghdad | belgium brussels | bulgaria sofia |
    romania bucharest | latvia riga | ukraine kyiv | iceland reykjavik | morocco rabat | tunisia tunis | ghana accra
""")
OPPOSITES = items("""
    hot cold | big small | old young | long short | high low | rich poor | good bad | fast slow | wet dry | hard soft |
    light dark | full empty | early late | strong weak | open closed | clean dirty | happy sad | loud quiet |
    wide narrow | thick thin | near far | up down | left right | true false | alive dead | cheap expensive |
    easy difficult | smooth rough | brave afraid | war peace | day night | summer winter | begin end | buy sell |
    push pull | give take | win lose | love hate | always never | everything nothing
""")
COLOURS = items("""
    grass green | snow white | coal black | blood red | milk white | soot black | sand yellow | ink blue |
    spinach green | chocolate brown | salt white | butter yellow | parsley green | flour white | gold yellow |
    rust brown | tar black | ketchup red | moss green | chalk white
""")
KINDS = items("""
    rose flower | tulip flower | daisy flower | lily flower | oak tree | birch tree | pine tree | maple tree |
    hammer tool | saw tool | drill tool | spade tool | trout fish | salmon fish | shark fish | tuna fish |
    sparrow bird | eagle bird | robin bird | parrot bird | violin instrument | piano instrument | flute instrument |
    trumpet instrument | carrot vegetable | cabbage vegetable | potato vegetable | leek vegetable | banana fruit |
    cherry fruit | pear fruit | grape fruit | copper metal | iron metal | silver metal | tin metal | ruby gem |
    diamond gem | emerald gem | doctor profession | teacher profession | baker profession | lawyer profession
""")
YOUNG = items("""
    cat kitten | dog puppy | cow calf | horse foal | sheep lamb | hen chick | goat kid | bear cub | duck duckling |
    goose gosling | pig piglet | deer fawn | frog tadpole | swan cygnet | kangaroo joey
""")


@dataclass(frozen=True)
class Relation:
    """Facts and how they are said: `{0}`, `{1}` are the words of a fact, `masks` those that follow from the rest."""

    facts: tuple[tuple[str, ...], ...]
    wordings: list[str]
    masks: tuple[int, ...]


@dataclass(frozen=True)
class Gap:
    """A text with one masked word, and the word."""

    text: str
    answer: str


def _pairs(entries: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(entry.split()) for entry in entries)


def _following(words: list[str], circle: bool) -> tuple[tuple[str, ...], ...]:
    """Every word with the next one."""
    following = [*words[1:], words[0]]
    pairs = tuple(zip(words, following, strict=True))
    return pairs if circle else pairs[:-1]


@cache
def relations() -> tuple[Relation, ...]:
    """All of them; sums and differences up to twenty among them."""
    neighbours = "{1} comes after {0} . | {0} comes before {1} . | after {0} comes {1} . | before {1} comes {0} ."
    sums = tuple((NUMBERS[a], NUMBERS[b], NUMBERS[a + b]) for a in range(11) for b in range(11))
    opposites = _pairs(OPPOSITES)
    return (
        Relation(
            _following(DAYS, True),
            items(f"""
                {neighbours} | the day after {{0}} is {{1}} . | the day before {{1}} is {{0}} . |
                if today is {{0}} , tomorrow is {{1}} . | if today is {{1}} , yesterday was {{0}} . |
                yesterday was {{0}} , so today is {{1}} .
            """),
            (0, 1),
        ),
        Relation(
            _following(MONTHS, True),
            items(f"""
                {neighbours} | the month after {{0}} is {{1}} . | the month before {{1}} is {{0}} . |
                this month is {{0}} , the next is {{1}} . | {{1}} follows {{0}} .
            """),
            (0, 1),
        ),
        Relation(
            tuple(zip(MONTHS, ORDINALS, strict=True)),
            items("""
                {0} is the {1} month of the year . | the {1} month of the year is {0} . |
                of all months , {0} comes {1} .
            """),
            (0, 1),
        ),
        Relation(
            _following(NUMBERS, False),
            items(f"{neighbours} | the number after {{0}} is {{1}} . | one more than {{0}} is {{1}} ."),
            (0, 1),
        ),
        Relation(
            sums,
            items("""
                {0} plus {1} is {2} . | {0} and {1} make {2} . | {2} minus {1} is {0} . | {2} is {0} plus {1} . |
                the sum of {0} and {1} is {2} .
            """),
            (0, 1, 2),
        ),
        Relation(
            (*opposites, *(tuple(reversed(pair)) for pair in opposites)),
            items("""
                the opposite of {0} is {1} . | {0} is the opposite of {1} . | {0} is not {1} . | not {0} but {1} . |
                either {0} or {1} .
            """),
            (0, 1),
        ),
        Relation(
            _pairs(CAPITALS),
            items("""
                the capital of {0} is {1} . | {1} is the capital of {0} . | {0} has the capital {1} . |
                the government of {0} sits in {1} . | whoever visits {1} is in {0} .
            """),
            (0, 1),
        ),
        Relation(
            _pairs(COLOURS),
            items("{0} is {1} . | the colour of {0} is {1} . | as {1} as {0} . | {0} looks {1} ."),
            (1,),
        ),
        Relation(
            _pairs(KINDS),
            items("a {0} is a kind of {1} . | the {0} is a {1} . | every {0} is a {1} . | this {1} is called {0} ."),
            (1,),
        ),
        Relation(
            _pairs(YOUNG),
            items("""
                a young {0} is called a {1} . | the {1} is the young of the {0} . | a {1} grows into a {0} . |
                the mother of the {1} is a {0} .
            """),
            (0, 1),
        ),
    )


def statement(random: Random, heldout: bool = False) -> tuple[str, list[str]]:
    """A true sentence, and which of its words may be masked: those that the other words leave no choice for."""
    while True:
        relation = random.choice(relations())
        fact, wording = random.choice(relation.facts), random.choice(relation.wordings)
        text = re.sub(r"\ba (?=[aeiou])", "an ", wording.format(*fact))
        if heldout == is_heldout(text):
            return text, [fact[index] for index in relation.masks]


def is_heldout(sentence: str) -> bool:
    """Whether a sentence is set aside."""
    return crc32(sentence.encode()) % HELDOUT_SHARE == 0


def gap(random: Random, heldout: bool = False) -> Gap:
    """One to three sentences with one word masked; the masked sentence of a held-out text was never trained on."""
    text, words = statement(random, heldout)
    answer = random.choice(words)
    parts = text.split()
    place = random.choice([index for index, word in enumerate(parts) if word == answer])
    parts[place] = MASK
    sentences = [" ".join(parts), *(statement(random)[0] for _ in range(random.choice((0, 0, 1, 2))))]
    random.shuffle(sentences)
    return Gap(" ".join(_written(sentence) for sentence in sentences), answer)


def _written(sentence: str) -> str:
    """As people write it: capitals for names and at the beginning, no space before commas and full stops."""
    words = [word.capitalize() if word in names() else word for word in sentence.split()]
    text = " ".join(words)
    return (text[0].upper() + text[1:]).replace(" .", ".").replace(" ,", ",")


@cache
def names() -> frozenset[str]:
    """Words that have a capital everywhere."""
    return frozenset([*DAYS, *MONTHS, *(word for entry in CAPITALS for word in entry.split())])


def vocabulary() -> list[str]:
    """Every word, in order of the alphabet."""
    texts = [text.format(*fact) for relation in relations() for text in relation.wordings for fact in relation.facts]
    return sorted({"an", *(word for text in texts for word in text.split())})
