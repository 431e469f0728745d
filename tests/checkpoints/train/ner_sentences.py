"""Sentences with people, places and organisations marked, for the NER checkpoint. Written for this project.

`{per}`, `{loc}` and `{org}` are places for names, the other slots for ordinary words. The held-out templates are never
trained on, nor are the last names, companies and places that `names.split` sets aside.
"""

import re
from random import Random

from tests.checkpoints.train import names
from tests.checkpoints.train.lexicon import items

INVENTED_SHARE = 0.25
# A sentence as (words, tags): one tag a word, "O", "B-PER", "I-PER", ...
Tagged = tuple[list[str], list[str]]

FIXED = items("""
    On {day} , {per} left {org} after twelve years . | {loc} signed a {thing} with {loc} . |
    I saw {per} at the {thing} . | Shares of {org} fell on {day} . |
    According to {org} , the {thing} is finished . | "We are ready , " said {per} . |
    Nobody in {loc} remembers the {thing} . | The headquarters of {org} are in {loc} . |
    A spokesman for {org} said no . | It rained in {loc} all {day} . | The weather in {loc} is lovely in {month} . |
    He has lived in {loc} since {month} . | Please send the {thing} to {per} . |
    The {thing} was written by {per} . | {per} 's {thing} surprised {per} . |
    Thousands marched through {loc} on {day} . | The {role} of {loc} , {per} , resigned . |
    {org} 's {role} is {per} . | The {role} lost the {thing} on {day} . | The {thing} starts on {day} . |
    Nothing happened in {month} . | Is {per} still in {loc} ? |
    Is {org} ready for {loc} ? | Has {org} left {loc} ? |
    Did {org} pay for the {thing} ? |
    {loc} , {loc} and {loc} sent a {role} . | We ordered the {thing} from {org} . | {per} ( {org} ) spoke first . |
    {per} : the {thing} is ready . | Without {per} there would be no {thing} . |
    The {thing} went from {loc} to {org} . | My {thing} with {org} is over . |
    The {thing} in {loc} was cancelled . | The {role} drove north to {loc} . | Has the {role} seen {loc} ?
""")

# Who does what: "{per}, a teacher from {loc}," + "was born in {loc}" + "on Monday".
PEOPLE = items("""
    {per} | {per} | {per} | {per} and {per} | The {role} {per} | {per} , a {role} from {loc} , | Mr {per} |
    Mrs {per} | Doctor {per} | My {role} , {per} , | {per} of {org} | The {role} of {org} , {per} ,
""")
PEOPLE_DO = items("""
    was born in {loc} | works for {org} | lives in {loc} | moved to {loc} | flew from {loc} to {loc} | met {per} |
    met {per} in {loc} | joined {org} | left {org} | left {loc} | studied at {org} | founded {org} | sued {org} |
    plays for {org} | called from {loc} | told {org} about the {thing} | won the {thing} | praised the {thing} |
    is a {role} | thanked {org} | visited {loc} | visited {per} | visited {org} | was employed by {org} |
    wrote a {thing} | is married to {per} | comes from {loc} | arrived in {loc} | bought the {thing} from {org} |
    spoke to {per} | wants to see {loc} | did not know {per} | trusts {org} | asked {per} for a {thing} |
    wrote to {org} | was hired as a {role} | was dismissed by {org} | was hired by {org} | was found by {per} |
    lost the {thing} | knows {loc} well | knows {per} well | has left for {loc}
""")
BODIES = items("{org} | {org} | {org} | {org} and {org} | The {role} of {org} | The board of {org} | Our partner {org}")
BODIES_DO = items("""
    opened an office in {loc} | hired {per} | hired {per} as its new {role} | bought {org} | sold {org} |
    will close its plant in {loc} | moved from {loc} to {loc} | beat {org} | announced a {thing} | dismissed {per} |
    signed a {thing} with {org} | built a {thing} in {loc} | paid for the {thing} | was founded by {per} |
    left {loc} | asked {org} for help | asked {per} for help | is based in {loc} | thanked {per} |
    will leave {loc} | lost money
""")
OTHERS = items(
    "The {role} | A {role} from {loc} | The {thing} | She | He | They | The government of {loc} | Somebody in {loc}"
)
OTHERS_DO = items("""
    went to {loc} | surprised {per} | surprised {org} | was shown in {loc} | was shown at {org} | reached {loc} |
    wrote about {loc} | called {per} | called {org} | was sold to {org} | stayed in {loc} | stayed with {per} |
    worked for {org} | came from {loc} | waited for {per} | waited for a {role} | began | ended badly
""")
BEFORE = (
    "",
    "",
    "",
    "On {day} , ",
    "In {month} , ",
    "According to {per} , ",
    "In {loc} , ",
    "Last year ",
    "Yesterday ",
)
AFTER = ("", "", "", " on {day}", " in {month}", " last year", " in {loc}", " with {per}", " , {per} said")

HELDOUT = items("""
    {per} was hired by {org} in {month} . | The {role} {per} comes from {loc} . |
    {org} sold its plant in {loc} to {org} . | On {day} {per} visited {org} in {loc} . |
    The {thing} in {loc} surprised {per} . | {per} and {per} live in {loc} . |
    According to {per} , {org} will leave {loc} . | The {role} of {org} , {per} , was born in {loc} . |
    She met {per} at {org} . | The {role} wrote a {thing} about {loc} . | {org} asked {per} for the {thing} . |
    In {month} the {role} moved to {loc} . | Is {org} still in {loc} ? | {per} left {loc} on {day} .
""")


def tagged_sentence(random: Random, heldout: bool = False) -> Tagged:
    """One sentence, or in training now and then two in a row."""
    if heldout:
        return _fill(random.choice(HELDOUT), random, heldout)
    words, tags = _fill(_template(random), random, heldout)
    if random.random() < 0.25:
        more_words, more_tags = _fill(_template(random), random, heldout)
        words, tags = words + more_words, tags + more_tags
    return words, tags


def _template(random: Random) -> str:
    """A fixed sentence, or one composed of a subject and what it does."""
    if random.random() < 0.2:
        return random.choice(FIXED)
    subjects, verbs = random.choice(((PEOPLE, PEOPLE_DO), (BODIES, BODIES_DO), (OTHERS, OTHERS_DO)))
    middle = f"{random.choice(subjects)} {random.choice(verbs)}"
    return f"{random.choice(BEFORE)}{middle}{random.choice(AFTER)} ."


def text_of(words: list[str]) -> str:
    """The words as running text, punctuation without a space before it."""
    return re.sub(r" ([.,?:)]|'s\b)", r"\1", " ".join(words)).replace("( ", "(").replace('" ', '"', 1)


def _fill(template: str, random: Random, heldout: bool) -> Tagged:
    makers = {"per": names.person, "loc": names.place, "org": names.organisation}
    plain = {"day": names.DAYS, "month": names.MONTHS, "thing": names.THINGS, "role": names.ROLES}
    words: list[str] = []
    tags: list[str] = []
    for part in template.split():
        slot = part.strip("{}") if part.startswith("{") else ""
        if slot in makers:
            found = makers[slot](random, heldout, INVENTED_SHARE).split()
            tags += [f"{'B' if index == 0 else 'I'}-{slot.upper()}" for index in range(len(found))]
        else:
            found = (random.choice(plain[slot]) if slot else part).split()
            tags += ["O"] * len(found)
        words += found
    return words, tags
