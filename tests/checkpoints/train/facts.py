"""Short texts about people, with questions and their answers in them, for the question-answering checkpoint.

Written for this project. Held-out texts are about people whose last names were never trained on, and who live and work
where nobody did in training.
"""

from dataclasses import dataclass
from random import Random

from tests.checkpoints.train import names
from tests.checkpoints.train.lexicon import items

INSTRUMENTS = items(
    "violin | piano | trumpet | cello | guitar | flute | harp | drums | clarinet | accordion | organ | banjo"
)
ANIMALS = items("dog | cat | parrot | rabbit | horse | turtle | goat | hamster | canary | ferret | pony | goldfish")
COLOURS = items("red | blue | green | yellow | black | white | orange | purple | silver | brown | grey | turquoise")
VEHICLES = items("bicycle | van | motorbike | tractor | scooter | truck | car | bus | boat | jeep | tram | lorry")
SUBJECTS = items("""
    biology | law | medicine | history | physics | music | economics | chemistry | geography | philosophy |
    mathematics | architecture
""")
DISHES = items("""
    pancakes | lentil soup | fried rice | apple pie | tomato salad | grilled fish | noodles | goulash | dumplings |
    mushroom risotto | roast chicken | potato curry
""")
HOBBIES = items("""
    climbing | chess | painting | fishing | sailing | gardening | knitting | cycling | dancing | photography |
    baking | swimming
""")


@dataclass(frozen=True)
class Relation:
    """How something is said of {who}, and asked for; {answer} is what is asked for."""

    answers: str | list[str]  # a word list, or "place", "organisation", "person", "year"
    statements: list[str]
    questions: list[str]


RELATIONS = [
    Relation(
        "place",
        items("{who} was born in {answer} . | {who} comes from {answer} . | {who} grew up in {answer} ."),
        items("Where was {who} born? | Where does {who} come from? | In which place did {who} grow up?"),
    ),
    Relation(
        "place",
        items("{who} now lives in {answer} . | {who} moved to {answer} . | The home of {who} is in {answer} ."),
        items("Where does {who} live? | Where did {who} move? | Where is the home of {who} ?"),
    ),
    Relation(
        "organisation",
        items("{who} works for {answer} . | {who} is employed by {answer} . | {who} has a job at {answer} ."),
        items("Who does {who} work for? | Which company employs {who} ? | Where does {who} have a job?"),
    ),
    Relation(
        names.ROLES,
        items("{who} is a {answer} . | {who} works as a {answer} . | By profession {who} is a {answer} ."),
        items("What is the profession of {who} ? | What does {who} work as? | What is the job of {who} ?"),
    ),
    Relation(
        "person",
        items("{who} is married to {answer} . | {who} married {answer} . | The partner of {who} is {answer} ."),
        items("Who is {who} married to? | Who did {who} marry? | Who is the partner of {who} ?"),
    ),
    Relation(
        INSTRUMENTS,
        items("{who} plays the {answer} . | {who} practises the {answer} every evening ."),
        items("Which instrument does {who} play? | What does {who} practise?"),
    ),
    Relation(
        ANIMALS,
        items("{who} has a {answer} . | {who} keeps a {answer} at home ."),
        items("Which animal does {who} have? | What pet does {who} keep?"),
    ),
    Relation(
        SUBJECTS,
        items("{who} studied {answer} . | {who} has a degree in {answer} ."),
        items("What did {who} study? | Which degree does {who} have?"),
    ),
    Relation(
        DISHES,
        items("{who} likes to eat {answer} . | The favourite dish of {who} is {answer} ."),
        items("What does {who} like to eat? | What is the favourite dish of {who} ?"),
    ),
    Relation(
        COLOURS,
        items("The favourite colour of {who} is {answer} . | {who} likes the colour {answer} best ."),
        items("What is the favourite colour of {who} ? | Which colour does {who} like?"),
    ),
    Relation(
        VEHICLES,
        items("{who} drives a {answer} . | {who} bought a {answer} last year ."),
        items("What does {who} drive? | What did {who} buy?"),
    ),
    Relation(
        "year",
        items("{who} retired in {answer} . | The career of {who} ended in {answer} ."),
        items("When did {who} retire? | In which year did the career of {who} end?"),
    ),
    Relation(
        HOBBIES,
        items("{who} enjoys {answer} . | At weekends {who} goes for {answer} ."),
        items("What does {who} enjoy? | What does {who} do at weekends?"),
    ),
]
UNANSWERABLE_SHARE = 0.04
SECOND_PERSON_SHARE = 0.12
INVENTED_SHARE = 0.15  # of names and answers in training: a small model otherwise learns the words by heart


@dataclass(frozen=True)
class Example:
    """A question about a text. `start` is the answer's first character; an unanswerable one has answer ""."""

    question: str
    context: str
    answer: str
    start: int


def example(random: Random, heldout: bool = False) -> Example:
    """Three to six facts about one person, now and then with two about another, and a question for one of them."""
    who = full_name(random, heldout)
    chosen = random.sample(RELATIONS, random.randint(3, 5))
    said = [
        (relation, *_statement(relation, who if i == 0 else _mention(who, random), random, heldout))
        for i, relation in enumerate(chosen)
    ]
    asked, sentence, answer = random.choice(said)
    sentences = [text for _, text, _ in said]
    if random.random() < SECOND_PERSON_SHARE:
        other = full_name(random, heldout)
        more = [_statement(relation, other, random, heldout)[0] for relation in random.sample(RELATIONS, 2)]
        sentences = sentences + more if random.random() < 0.5 else more + sentences
    if random.random() < UNANSWERABLE_SHARE:
        asked, answer = random.choice([relation for relation in RELATIONS if relation not in chosen]), ""
    context = _tidy(" ".join(sentences))
    start = context.index(_tidy(sentence)) + _tidy(sentence).rindex(answer) if answer else 0
    return Example(_tidy(random.choice(asked.questions).format(who=who)), context, answer, start)


def full_name(random: Random, heldout: bool) -> str:
    """First and last name."""
    first = random.choice(names.split(names.FIRST_NAMES, False))
    last = random.choice(names.split(names.LAST_NAMES, heldout))
    if not heldout and random.random() < INVENTED_SHARE:
        last = names.invented(random)
    return f"{first} {last}"


def _mention(who: str, random: Random) -> str:
    """The name again, or a part of it."""
    return random.choice((who, who.split()[0], who.split()[1]))


def _statement(relation: Relation, who: str, random: Random, heldout: bool) -> tuple[str, str]:
    answer = _answer(relation.answers, random, heldout)
    return random.choice(relation.statements).format(who=who, answer=answer), answer


def _answer(kind: str | list[str], random: Random, heldout: bool) -> str:
    if isinstance(kind, list):
        is_invented = not heldout and random.random() < INVENTED_SHARE
        return names.invented(random).lower() if is_invented else random.choice(kind)
    if kind == "year":
        return str(random.randint(1950, 2024))
    if kind == "person":
        return full_name(random, heldout)
    return {"place": names.place, "organisation": names.organisation}[kind](random, heldout)


def _tidy(text: str) -> str:
    return text.replace(" .", ".").replace(" ?", "?")
