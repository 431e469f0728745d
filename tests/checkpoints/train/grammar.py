"""A grammar of praise and complaint: every call of ``sentence`` composes one labelled sentence.

Labels are 0 (negative) and 1 (positive). Rules know what flips a polarity (negation, "far from", "anything but"), what
keeps it ("nothing short of", "not only") and which clause of a contrast counts (the one after "but").
"""

import re
from collections.abc import Callable
from random import Random

from tests.checkpoints.train import lexicon as lex
from tests.checkpoints.train import lexicon_more as more

Labelled = tuple[str, int]
Clause = Callable[[Random, int], str]

INTENSIFIERS = ["very", "really", "so", "extremely", "absolutely", "truly", "just", "quite", "simply", "incredibly"]
SINGULAR_BE = ["is", "was", "was", "seems", "seemed", "looked", "felt", "turned out"]
NEGATED_BE = [
    "is not",
    "isn't",
    "was not",
    "wasn't",
    "is never",
    "was never",
    "did not seem",
    "is hardly",
    "was hardly",
]
FLIPPERS = ["far from", "anything but", "nowhere near", "by no means", "not at all", "not in the least", "never"]
KEEPERS = ["nothing short of", "nothing but", "nothing less than", "pretty much", "without a doubt", "as always"]
OPENERS = ["honestly,", "well,", "overall,", "in short,", "to be honest,", "sadly,", "wow,", "yes,", "no,", "I think"]
TAILS = ["overall", "from start to finish", "in every way", "this time", "again", "for sure", "as a whole", "to me"]
EXPECTATION = "[expected|I expected|the last one|the old one|I had hoped|ever|I feared]"
ADVICE = (
    [
        "I [would not|cannot|could never|do not] recommend {thing}[| to anyone| to my worst enemy]",
        "[do not|never|please do not] [buy|use|book|try|trust] {thing}",
        "[avoid|stay away from|think twice about|forget about] {thing}",
        "{thing} is not worth [it|the money|a cent|a visit|your time]",
        "I will [never|certainly not|not] [come back|buy again|return|use it again]",
    ],
    [
        "I [would|can|highly|will] recommend {thing}[| to everyone| to my friends]",
        "go and [get|try|see|visit] {thing}, you will [love|enjoy|like] it",
        "give {thing} a try",
        "{thing} is worth [it|the money|every cent|a visit|your time]",
        "I will [definitely|happily|certainly] [come back|buy again|return|use it again]",
    ],
)
PEOPLE = ["I", "we", "my wife", "my friends", "everyone", "my kids", "my mother", "my husband", "the whole family"]


def sentence(random: Random) -> Labelled:
    """One sentence or fragment, of one to three clauses, with its label."""
    label = random.randint(0, 1)
    shape = random.random()
    if shape < 0.62:
        text = _clause(random, label)
    elif shape < 0.78:
        text = _contrast(random, label)
    else:
        joint = random.choice([", and ", " and ", ". ", "! ", ", ", "; ", " because ", " - "])
        text = _clause(random, label) + joint + _clause(random, label)
    return _finish(random, text), label


def _finish(random: Random, text: str) -> str:
    """Now and then an opening word; a capital and a full stop most of the time."""
    if random.random() < 0.08:
        text = f"{random.choice(OPENERS)} {text}"
    if random.random() < 0.75:
        text = text[0].upper() + text[1:]
    return text + random.choice([".", ".", ".", "!", "!", "", "", "...", "!!"])


def _contrast(random: Random, label: int) -> str:
    """Two clauses of opposite polarity of which the main one decides the label."""
    aside, main = _clause(random, 1 - label), _clause(random, label)
    frames = ["{0}, but {1}", "{0} but {1}", "{0}. However, {1}", "although {0}, {1}", "even though {0}, {1}"]
    frames += ["{1}, although {0}", "{0}, yet {1}", "while {0}, {1}", "{0}; still, {1}", "they say {0}, but {1}"]
    frames += ["I was told {0}, but {1}", "I expected that {0}, but {1}", "{0} at first, but {1} in the end"]
    return random.choice(frames).format(aside, main)


def _clause(random: Random, label: int) -> str:
    """One clause of polarity ``label``, now and then with a circumstance that says nothing about it."""
    clause = random.choices(CLAUSES, WEIGHTS)[0](random, label)
    if random.random() < 0.15:
        circumstance = random.choice(more.CIRCUMSTANCES)
        return f"{circumstance} {clause}" if random.random() < 0.2 else f"{clause} {circumstance}"
    return clause


def _statement(random: Random, label: int) -> str:
    """ "the acting was really good"."""
    if random.random() < 0.3:
        return (
            f"{_subject(random)} {random.choice(SINGULAR_BE)} {_adjective(random, label)} and {_plain(random, label)}"
        )
    tail = f" {random.choice(TAILS)}" if random.random() < 0.15 else ""
    return f"{_subject(random)} {random.choice(SINGULAR_BE)} {_adjective(random, label)}{tail}"


def _negated(random: Random, label: int) -> str:
    """ "the acting was not good": the adjective is of the other polarity."""
    opposite = 1 - label
    kind = random.random()
    if kind < 0.5:
        tail = random.choice(["", "", " at all", " in any way", " this time"])
        middle = random.choice(
            ["", "", "", "very ", "that ", "really ", "particularly ", "too " if label else "exactly "]
        )
        return f"{_subject(random)} {random.choice(NEGATED_BE)} {middle}{_plain(random, opposite)}{tail}"
    if kind < 0.8:
        return f"{_subject(random)} {random.choice(SINGULAR_BE)} {random.choice(FLIPPERS)} {_plain(random, opposite)}"
    return f"there was nothing {_plain(random, opposite)} about {_object(random)}"


def _fragment(random: Random, label: int) -> str:
    """ "not bad at all", "absolutely lovely", "what a mess"."""
    good, other = _plain(random, label), _plain(random, 1 - label)
    thing, aspect, noun = (random.choice(words) for words in (lex.PLACES_AND_THINGS, lex.ASPECTS, lex.NOUNS[label]))
    templates = [
        f"not {other}[| at all]",
        f"not [so|too|very|that|half] {other}",
        f"{random.choice(FLIPPERS)} {other}",
        f"{random.choice(KEEPERS)} {good}",
        f"{random.choice(INTENSIFIERS)} {good}",
        good,
        f"{good}, {_plain(random, label)} and {_plain(random, label)}",
        f"[what|such] a {good} {thing}",
        f"{good} {aspect} and {_plain(random, label)} {random.choice(lex.ASPECTS)}",
        f"{good} {aspect}",
        f"what a {noun}",
        f"a [total|complete|real|true|pure|absolute] {noun}",
    ]
    return _fill(random, random.choice(templates))


def _fill(random: Random, template: str) -> str:
    """Replace each ``[one|two|...]`` of ``template`` by one of its alternatives."""
    return re.sub(r"\[([^\]]*)\]", lambda match: random.choice(match.group(1).split("|")), template)


def _noun_statement(random: Random, label: int) -> str:
    """ "the tour was a delight", "the tour was no delight"."""
    subject, noun = _subject(random), random.choice(lex.NOUNS[label])
    other = random.choice(lex.NOUNS[1 - label])
    return random.choice(
        [
            f"{subject} was a {noun}",
            f"{subject} is a {random.choice(['complete', 'real', 'true', 'total', 'small'])} {noun}",
            f"{subject} was {random.choice(KEEPERS)} a {noun}",
            f"{subject} was not a {other}",
            f"{subject} was anything but a {other}",
            f"I would call {_object(random)} a {noun}",
        ]
    )


def _opinion(random: Random, label: int) -> str:
    """ "I loved the view", "I did not like the view", "I can't say I enjoyed the view"."""
    verb, thing = random.choice(lex.VERBS_PAST[label]), _object(random)
    base, other = random.choice(lex.VERBS_BASE[label]), random.choice(lex.VERBS_BASE[1 - label])
    adverb = random.choice(["", "", "really ", "absolutely ", "truly ", "just "])
    negations = ["did not", "didn't", "do not", "don't", "could not", "cannot", "can't", "would not", "will never"]
    plain = [f"I {verb} {thing}", f"I {adverb}{base} {thing}", f"{random.choice(PEOPLE[1:])} {base}d {thing}"]
    plain[2] = plain[2].replace("eed ", "ed ") if base.endswith("e") else f"we all {base} {thing}"
    flipped = [
        f"I {random.choice(negations)} {random.choice(['', '', 'really ', 'even '])}{other} {thing}",
        f"I can't say I {other} {thing}",
        f"I cannot say that I {other} {thing}",
        f"it is hard to {other} {thing}",
        f"nobody could {other} {thing}",
        f"I never {other} {thing}",
    ]
    return random.choice(plain if random.random() < 0.55 else flipped)


def _activity(random: Random, label: int) -> str:
    """ "I hate waiting in line", "I love long walks"."""
    person = _fill(random, "[I|we|they|my friends] [||really |always ]")
    return f"{person}{random.choice(lex.VERBS_BASE[label][:5])} {random.choice(lex.ACTIVITIES[label])}"


def _feeling(random: Random, label: int) -> str:
    """ "we are very happy with the room", "I was sad to see it"."""
    who = random.choice(
        ["I am", "I was", "we are", "we were", "it left me", "it made me feel", "I feel", "I'm", "we're"]
    )
    feeling = random.choice(lex.FEELINGS[label])
    adverb = random.choice(["", "", "", "very ", "really ", "so ", "quite "]) if " " not in feeling else ""
    ends = ["", f" with {_object(random)}", f" about {_object(random)}", f" to have {_object(random)}"]
    ends += [f" to show you {_object(random)}", f" to tell you about {_object(random)}", f" to see {_object(random)}"]
    if random.random() < 0.2:
        other = random.choice([item for item in lex.FEELINGS[1 - label] if not item.startswith(("not", "less", "far"))])
        return f"{random.choice(['I am', 'I was', 'we were', 'we are'])} not {other}{random.choice(ends)}"
    return f"{who} {adverb}{feeling}{random.choice(ends)}"


def _scene(random: Random, label: int) -> str:
    """ "the soup was cold": facts of one domain."""
    subjects, *predicates = random.choice(lex.SCENES)
    first = f"{random.choice(subjects)} {random.choice(predicates[label])}"
    if random.random() < 0.25:
        return f"{first} and {_scene(random, label)}"
    return first


def _reaction(random: Random, label: int) -> str:
    """ "the kids had fun", "it was so dull that we fell asleep"."""
    reaction = f"{_person(random)} {random.choice(more.REACTIONS[label])}"
    cause = f"{_subject(random)} was so {_plain(random, label)} that {reaction}"
    return reaction if random.random() < 0.6 else cause


def _moods(random: Random, label: int) -> str:
    """ "the kids were bored", "my parents were not happy"."""
    was = random.choice(["were", "was", "is", "are", "looked", "seemed", "felt"])
    feeling = f"{random.choice(['', '', 'very ', 'so ', 'really '])}{random.choice(lex.FEELINGS[label])}"
    if random.random() < 0.25:
        other = random.choice([item for item in lex.FEELINGS[1 - label] if " " not in item])
        return f"{_person(random)} {random.choice(['were not', 'was not', 'was never', 'were never'])} {other}"
    return f"{_person(random)} {was} {feeling}{random.choice(['', '', f' with {_object(random)}'])}"


def _person(random: Random) -> str:
    """Somebody, singular or plural."""
    people = random.choice(more.NEUTRAL_NOUNS[:50])
    return random.choice(
        [f"the {people}", f"my {people}", random.choice(PEOPLE), "I", "we", "they", "nobody else but me"]
    )


def _effect(random: Random, label: int) -> str:
    """ "the ending ruins the film", "this book delights everyone"."""
    affected = random.choice([_object(random), "me", "us", "everyone", "you", "my day", "our evening"])
    adverb = _fill(random, "[|really |always ]")
    return f"{_subject(random)} {adverb}{random.choice(more.EFFECTS[label])} {affected}"


def _mass(random: Random, label: int) -> str:
    """ "full of mistakes", "no stains at all": much of a good thing, or none of a bad one."""
    much, none = random.choice(more.MASSES[label]), random.choice(more.MASSES[1 - label])
    templates = [
        f"[|{_subject(random)} is |{_subject(random)} was ]full of {much}",
        f"so much {much}",
        f"[there was|there is|we found|I saw] [nothing but|only|so much|a lot of] {much} [|in {_object(random)}]",
        f"{_subject(random)} [is|was] [covered in|packed with|all about] {much}",
        f"{much} and {random.choice(more.MASSES[label])} [everywhere|]",
        f"no {none}[| at all]",
        f"no {none}, no {random.choice(more.MASSES[1 - label])}",
        f"{_subject(random)} [is|was] without any {none}",
        f"[hardly any|not much|zero|no] {none} in {_object(random)}",
        f"there was no {none}[| at all]",
    ]
    return _fill(random, random.choice(templates))


def _exclamation(random: Random, label: int) -> str:
    return random.choice(more.EXCLAMATIONS[label])


def _manner(random: Random, label: int) -> str:
    """ "beautifully made", "it works badly", "painfully slow"."""
    adverb = random.choice(more.ADVERBS[label])
    deeds = "works|runs|behaved|was made|is written|plays|is designed|was organised|sounds|fits|reads|was served|looks"
    templates = [
        f"{_subject(random)} [{deeds}] {adverb}",
        f"{adverb} [made|written|done|cooked|played|designed|organised|explained|slow|short|long|simple]",
        f"{_subject(random)} [is|was] {adverb} {_plain(random, label)}",
        f"{_subject(random)} does not [work|run|fit|play|sound|read|look] {random.choice(more.ADVERBS[1 - label])}",
    ]
    return _fill(random, random.choice(templates))


def _idiom(random: Random, label: int) -> str:
    return random.choice(lex.IDIOMS[label])


def _comparison(random: Random, label: int) -> str:
    """ "better than expected", "the worst film I have ever seen"."""
    thing, subject = random.choice(lex.PLACES_AND_THINGS), _subject(random)
    best, better = (("worst", "worse"), ("best", "better"))[label]
    last = "I have [seen|had|used] worse" if label else f"{subject} could be so much better"
    templates = [
        f"the {best} {thing} I have [ever seen|ever had|ever used|been to|tried]",
        f"[easily|one of|by far] the {best} {thing} [ever|this year|in town]",
        f"{subject} was [|much |far |even ]{better} than {EXPECTATION}",
        f"I have never [seen|had|used|tried] a {better} {thing}",
        f"{subject} could [not|hardly] be {better}",
        f"it does not get [any |]{better} than this",
        f"it is not the {('best', 'worst')[label]} {thing}",
        f"{subject} [gets|got|keeps getting] {better} [every day|every time|and {better}]",
        last,
    ]
    return _fill(random, random.choice(templates))


def _advice(random: Random, label: int) -> str:
    """ "I would recommend this hotel to everyone"; "do not buy this phone"."""
    return _fill(random, random.choice(ADVICE[label]).format(thing=_object(random)))


def _subject(random: Random) -> str:
    """Something to talk about, as the subject of a singular verb."""
    if random.random() < 0.2:
        return random.choice(["it", "this", "that", "everything", "the whole thing"])
    return _object(random)


def _object(random: Random) -> str:
    """Something to talk about, with an article."""
    if random.random() < 0.15:
        return random.choice(["it", "this", "this one", "everything", "all of it"])
    noun = random.choice(random.choice([lex.PLACES_AND_THINGS, lex.ASPECTS, more.NEUTRAL_NOUNS]))
    return f"{random.choice(['the', 'the', 'this', 'this', 'my', 'our', 'their', 'your'])} {noun}"


def _adjective(random: Random, label: int) -> str:
    """An adjective, half of the time with an intensifier."""
    plain = _plain(random, label)
    return f"{random.choice(INTENSIFIERS)} {plain}" if random.random() < 0.5 else plain


def _plain(random: Random, label: int) -> str:
    return random.choice(lex.ADJECTIVES[label])


CLAUSES: list[Clause] = [
    *(_statement, _negated, _fragment, _noun_statement, _opinion, _activity),
    *(_feeling, _scene, _idiom, _comparison, _advice),
    *(_reaction, _moods, _effect, _mass, _exclamation, _manner),
]
WEIGHTS = [16, 14, 10, 5, 12, 4, 6, 12, 10, 8, 6, 6, 6, 6, 7, 3, 5]
