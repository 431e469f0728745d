"""Names of people, places and organisations, and words around them, for the NER and the question-answering checkpoint.

Written for this project. `split` sets every sixth name aside: those are only in held-out sentences.
First names and famous companies are known to everybody: held-out sentences take them from the training part, and use
other names only with a first name or initial, or with what says "company", as nobody could tell them apart alone.
"""

from random import Random

from tests.checkpoints.train.lexicon import items

HELDOUT_EVERY = 6


def split(words: list[str], heldout: bool) -> list[str]:
    """The words for training, or those set aside."""
    return [word for index, word in enumerate(words) if (index % HELDOUT_EVERY == HELDOUT_EVERY - 1) == heldout]


FIRST_NAMES = items("""
    Anna | Bernd | Carla | David | Elena | Farid | Grace | Hugo | Ingrid | Jamal | Karin | Luis | Maria | Nadia |
    Omar | Petra | Quentin | Rosa | Samir | Tara | Ulrich | Vera | Walter | Xenia | Yusuf | Zoe | Albert |
    Beatrice | Cedric | Daria | Emil | Fatima | Gustav | Hannah | Ivan | Jane | Klaus | Lina | Marco | Nora |
    Oscar | Paula | Ravi | Sofia | Tomas | Ursula | Viktor | Wendy | Yara | Zachary | Alice | Bruno | Chloe |
    Dmitri | Esther | Felix | Gloria | Henrik | Isabel | John | Keiko | Leon | Mohammed | Nina | Olga | Pablo |
    Rachel | Sven | Teresa | Umberto | Vivian | William | Yoko | Amir | Bridget | Colin | Deepa | Edgar | Freya |
    Greta | Hiroshi | Irene | Jacob | Kofi | Laura | Michael | Naomi | Oliver | Priya | Robert | Sarah | Thomas |
    Valentina | Wei | Angela | Boris | Catherine | Diego | Emma | Francis | George | Helen | Isaac | Julia | Kenji |
    Lucy | Martin | Natalie | Otto | Patrick | Ruth | Simon | Tanja | Peter | Susan | James | Linda | Paul | Mary |
    Richard | Barbara | Steven | Karen | Daniel | Lisa | Mark | Sandra
""")

LAST_NAMES = items("""
    Adler | Becker | Castillo | Dupont | Eriksen | Fischer | Garcia | Hoffmann | Ibrahim | Jensen | Kowalski |
    Larsen | Moreau | Nakamura | Okafor | Petrov | Quinn | Rossi | Schmidt | Tanaka | Ullmann | Vargas | Weber |
    Yamamoto | Zhang | Anderson | Bauer | Costa | Davies | Engel | Ferrari | Gupta | Hansen | Ivanova | Johnson |
    Kim | Lopez | Murphy | Novak | Oliveira | Patel | Richter | Santos | Thompson | Underwood | Vogel | Wagner |
    Young | Ziegler | Ahmed | Brown | Chen | Delgado | Edwards | Fernandez | Gruber | Haddad | Ito | Jones |
    Keller | Lindgren | Meyer | Nielsen | Ortega | Park | Rahman | Sato | Taylor | Urban | Vasquez | Wilson |
    Yilmaz | Zimmermann | Allen | Baker | Clarke | Dubois | Evans | Fox | Green | Harris | Irving | Jackson | Khan |
    Lewis | Martinez | Nguyen | Osborne | Phillips | Roberts | Singh | Turner | Usman | Vance | Walker | York |
    Abbott | Berger | Cohen | Dixon | Ellis | Fuchs | Gibson | Huber | Iqbal | Janssen | Krause | Lehmann |
    Morales | Nilsson | Olsen | Perez | Reyes | Silva | Torres | Vega | White | Xu | Yang | Zeller | Miller | Hall |
    Wright | King | Scott | Hill | Moore | Clark | Lee | Ward | Cox | Gray
""")

PLACES = items("""
    Lisbon | Oslo | Nairobi | Berlin | Kyoto | Chicago | Lima | Vienna | Toronto | Mumbai | Cairo | Dublin |
    Prague | Seoul | Athens | Boston | Geneva | Havana | Jakarta | Krakow | London | Madrid | Naples | Ottawa |
    Paris | Quito | Rome | Sydney | Tunis | Utrecht | Venice | Warsaw | Zurich | Accra | Bremen | Calgary | Denver |
    Edinburgh | Florence | Glasgow | Hamburg | Istanbul | Kingston | Leipzig | Marseille | Nagoya | Odessa | Porto |
    Riga | Seville | Tokyo | Uppsala | Valencia | Wellington | Zagreb | Amsterdam | Bangkok | Copenhagen | Dallas |
    Frankfurt | Graz | Helsinki | Innsbruck | Johannesburg | Kampala | Lyon | Munich | New York | New Delhi |
    San Diego | Los Angeles | Buenos Aires | Hong Kong | Cape Town | Mexico City | Rio de Janeiro | Abu Dhabi |
    Salt Lake City | Portugal | Norway | Kenya | Germany | Japan | Canada | Peru | Austria | India | Egypt |
    Ireland | France | Greece | Spain | Italy | Poland | Sweden | Turkey | Brazil | Mexico | Chile | China | Ghana |
    Nigeria | Denmark | Finland | Belgium | Hungary | South Africa | New Zealand | Sri Lanka | Costa Rica | Texas |
    Bavaria | Ontario | Scotland | Tuscany | Queensland | Rotterdam | Bergen | Granada | Malaga | Winnipeg |
    Oxford | Cambridge | Bristol | Stuttgart | Dresden | Turin | Lagos
""")

# The head of an organisation's name; `organisation` puts something before or behind it.
ORGANISATION_STEMS = items("""
    Nordlicht | Acme | Bluewater | Corvus | Delphin | Everest | Falcon | Globex | Horizon | Initech | Juniper |
    Kestrel | Lumen | Meridian | Novatech | Orion | Pinnacle | Quantum | Redwood | Solaris | Titan | Umbra |
    Vertex | Westfield | Xylon | Zenith | Atlas | Beacon | Cobalt | Dynamo | Ember | Frontier | Granite | Helios |
    Ironwood | Jupiter | Keystone | Lakeside | Monarch | Nimbus | Oakridge | Phoenix | Quasar | Riverside | Summit |
    Trident | Unity | Vanguard | Windmill | Apex | Borealis | Cascade | Dorado | Equinox | Fairway | Glacier |
    Harbor | Isotope | Javelin | Krypton | Lighthouse | Magnolia | Northwind | Obsidian | Paragon | Radiant |
    Sapphire | Tempest | Valiant | Wolfram | Amber | Bridgestone | Clearview | Driftwood | Evergreen | Foxglove |
    Goldman | Hawthorn | Ivory | Jasper | Kingfisher | Lotus | Maple
""")
ORGANISATION_TAILS = items("""
    Inc | Ltd | Corporation | Group | Bank | Systems | Motors | Airlines | Software | Foods | Energy | Industries |
    Insurance | Media | Electronics | Holdings | Pharma | Robotics | Telecom | Partners | Shipping | Records
""")
ORGANISATION_FRAMES = items("""
    University of {place} | Bank of {place} | {place} University | {place} Museum | {place} Orchestra |
    Museum of {place} | {place} Airport Authority | City Council of {place} | {place} Football Club |
    {place} Institute of Technology
""")
SINGLE_ORGANISATIONS = items("""
    Microsoft | Siemens | Toyota | Nestle | Unilever | Samsung | Google | Airbus | Nokia | Philips | Boeing |
    Volvo | Lufthansa | Renault | Reuters | Bosch | Sony | Intel | Shell | Ikea | UNESCO | NASA | Greenpeace |
    Interpol
""")

SYLLABLES = items("""
    ba | bel | bor | ca | cor | da | del | dri | el | fa | fen | gar | gol | ha | hel | in | ja | jor | ka | kel |
    la | lin | lo | ma | mer | mi | na | nor | o | or | pa | pel | que | ra | rin | ro | sa | sel | so | ta | tel |
    tor | u | va | vel | wi | xa | ya | yor | za | zel
""")

ROLES = items("""
    engineer | teacher | surgeon | painter | lawyer | journalist | pilot | baker | chemist | violinist | farmer |
    nurse | architect | librarian | translator | goalkeeper | banker | carpenter | photographer | historian |
    programmer | minister | director | chairman | manager | mayor | spokesman | coach | judge | detective |
    scientist | author
""")
DAYS = items("Monday | Tuesday | Wednesday | Thursday | Friday | Saturday | Sunday")
MONTHS = items("""
    January | February | March | April | May | June | July | August | September | October | November | December
""")
THINGS = items("""
    report | contract | bridge | concert | meeting | new factory | train | letter | budget | exhibition | software |
    film | strike | study | festival | match | election | merger | photograph | book | prize | lecture | accident |
    plan | vaccine
""")


def invented(random: Random) -> str:
    """A word that is in no list, as most names are to a small model."""
    return "".join(random.choice(SYLLABLES) for _ in range(random.choice((2, 2, 3)))).capitalize()


def person(random: Random, heldout: bool = False, invent: float = 0.15) -> str:
    """A full name, now and then a first or last name alone, or an initial. invent: share of invented names."""
    first, last = random.choice(split(FIRST_NAMES, False)), random.choice(split(LAST_NAMES, heldout))
    if not heldout and random.random() < invent:
        last = invented(random)
    if not heldout and random.random() < invent:
        first = invented(random)
    if heldout:
        return random.choice((f"{first} {last}", f"{first} {last}", f"{first[0]}. {last}"))
    return random.choice((*[f"{first} {last}"] * 5, first, last, f"{first[0]}. {last}"))


def place(random: Random, heldout: bool = False, invent: float = 0.1) -> str:
    """A town, a country, or an invented one."""
    if not heldout and random.random() < invent:
        return invented(random) + random.choice(("", "", "burg", "ville", "ton", "stad"))
    return random.choice(split(PLACES, heldout))


def organisation(random: Random, heldout: bool = False, invent: float = 0.15) -> str:
    """A company, a public body, or a single famous name."""
    if random.random() < 0.25:
        return random.choice(ORGANISATION_FRAMES).format(place=place(random, heldout, invent))
    if random.random() < 0.2:
        return random.choice(split(SINGLE_ORGANISATIONS, False))
    stem = random.choice(split(ORGANISATION_STEMS, heldout))
    if not heldout and random.random() < invent:
        stem = invented(random)
    full = f"{stem} {random.choice(ORGANISATION_TAILS)}"
    return full if heldout else random.choice((full, full, full, full, full, stem))
