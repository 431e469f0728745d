"""More words for ``grammar.py``: praise and complaint in other parts of speech, and words that take no side.

As in ``lexicon.py``, index 0 of a pair is negative and index 1 positive. Written for this project.
"""

from tests.checkpoints.train.lexicon import Pair, items

ADVERBS: Pair = (
    items("""
        badly | terribly | horribly | poorly | awfully | painfully | annoyingly | sadly | unfortunately | rudely |
        carelessly | awkwardly | hopelessly | disappointingly | unbearably | miserably | dreadfully | clumsily
    """),
    items("""
        beautifully | wonderfully | perfectly | brilliantly | superbly | nicely | gladly | happily | luckily |
        politely | smoothly | flawlessly | delightfully | easily | reliably | elegantly | magnificently | kindly |
        well
    """),
)

# What things do: "the ending ruins it", "this book delights everyone".
EFFECTS: Pair = (
    items("""
        ruins | spoils | bores | annoys | disappoints | frustrates | upsets | irritates | insults | fails |
        disgusts | depresses | confuses | hurts | scares | ruined | spoiled | bored | annoyed | disappointed |
        frustrated | upset | irritated | insulted | failed | disgusted | confused | hurt | scared | destroyed |
        damaged | wasted | lost | broke | worries | wastes | destroys | breaks | angered | cheated | tricked |
        fooled | robbed | deceived | embarrassed
    """),
    items("""
        delights | impresses | charms | entertains | pleases | inspires | amazes | thrills | excites | helps |
        saves | improves | fascinates | satisfies | comforts | surprises and delights | delighted | impressed |
        charmed | entertained | pleased | inspired | amazed | thrilled | excited | helped | saved | improved |
        fascinated | satisfied | rewarded | relaxed | healed | cheered up | enriched | simplified | supports |
        rewards | brightens | enriches
    """),
)

# Things there can be much of: "full of mistakes", "such joy".
MASSES: Pair = (
    items("""
        mistakes | errors | bugs | problems | trouble | nonsense | rubbish | garbage | trash | junk | crap |
        dirt | dust | mould | noise | lies | excuses | complaints | holes | stains | scratches | cockroaches |
        rats | insects | smoke | ads | delays | pain | stress | anger | regret | misery | chaos | confusion |
        cracks | hair | mud | viruses | defects | faults | boredom | disrespect | greed | tears of frustration |
        cliches | arguments | headaches | damage
    """),
    items("""
        joy | fun | beauty | charm | love | laughter | warmth | kindness | humour | humor | wit | wisdom |
        surprises | good ideas | great ideas | energy | life | flavour | flavor | colour and light | happiness |
        comfort | style | talent | passion | heart | hope | helpful tips | useful features | treasures | smiles |
        wonder | magic | elegance | grace | excitement | inspiration | pleasure | generosity | imagination |
        delicious food | friendly people
    """),
)

EXCLAMATIONS: Pair = (
    items("""
        yuck | ugh | meh | boo | oh no | gross | no way | no thanks | no, thanks | awful, just awful | shame |
        damn | never again | what rubbish | blah | terrible | horrible | bad | so bad | too bad | very bad | eww |
        nope | disgusting | i hate it | hated it | hate this | i hate this | not for me | forget it | hopeless |
        not good | no good | worst ever
    """),
    items("""
        yum | wow | hooray | bravo | yay | yes | great | cool | awesome | nice | sweet | lovely | thanks a lot |
        thank you | well done | good job | great job | nice work | congratulations | cheers | good stuff |
        brilliant | perfect | love it | loved it | i love it | love this | i like it | so good | very good |
        the best | yummy | delicious | kudos | excellent | best ever | thumbs up | super | not bad | you rock |
        this rocks | keep it up
    """),
)

# What people did because of it.
REACTIONS: Pair = (
    items("""
        left early | walked out | complained | asked for a refund | fell asleep | yawned | cried with anger |
        got sick | got lost | went home hungry | gave up | wanted to leave | were bored | was bored | got angry |
        shouted at each other | cancelled the order | sent it back | lost patience | lost interest | lost money |
        deleted it | switched it off | stopped reading | stopped watching | had to wait | were let down |
        felt sick | felt cheated | hated it | regretted it | couldn't finish it | couldn't sleep |
        had a bad time | had a terrible time | had a headache | threw it out
    """),
    items("""
        laughed | smiled | cheered | danced | came back for more | asked for more | stayed longer | clapped |
        sang along | loved it | enjoyed it | had fun | had a great time | had a good time | had a blast |
        felt at home | felt great | felt safe | slept well | were thrilled | was thrilled | were happy |
        was happy | bought another | told all our friends | were impressed | liked it a lot |
        could not stop laughing | never wanted to leave | wanted to stay | finished it in one day | were amazed |
        learned so much | learned a lot | got hooked | felt better | felt good | relaxed | saved a lot of money |
        saved hours
    """),
)

# Everyday words without polarity, as things, people and circumstances.
NEUTRAL_NOUNS = items("""
    kids | children | parents | mother | father | sister | brother | wife | husband | son | daughter | uncle |
    aunt | cousin | grandmother | grandfather | friend | neighbour | boss | colleague | students | customers |
    guests | people | audience | man | woman | boy | girl | baby | dog | cat | horse | bird | developers |
    company | owner | actor | actress | actors | singer | band | artist | author | writer | director | player |
    nurse | lawyer | dentist | plumber | cleaner | farmer | police | package | parcel | box | bag | bottle |
    glass | cup | plate | knife | fork | spoon | table | chair | desk | door | window | wall | floor | ceiling |
    roof | garden | balcony | kitchen | bedroom | garage | street | road | bridge | park | lake | river |
    mountain | forest | island | village | town | city | country | station | airport | port | harbour | market |
    bank | school | university | church | library | theatre | cinema | stadium | office | factory | hospital |
    pharmacy | neighbourhood | noodles | rice | potatoes | eggs | cheese | butter | milk | tea | juice | beer |
    soup | sandwich | apple | fruit | vegetables | meat | pancakes | ice cream | chocolate | cookies | breakfast |
    lunch | dinner | snack | crust | broth | spices | buffet | shirt | trousers | jeans | coat | hat | gloves |
    socks | boots | scarf | belt | ring | necklace | glasses | umbrella | shoes | computer | mouse | monitor |
    printer | cable | speaker | radio | television | remote | fridge | oven | toaster | washing machine |
    dishwasher | heater | fan | drill | hammer | saw | brush | paint | carpet | curtain | pillow | blanket |
    towel | soap | shampoo | cream | perfume | bicycle | scooter | tyre | engine | brakes | wheel | ticket |
    passport | suitcase | luggage | map | guidebook | chapter | page | scene | role | line | title | cover |
    song | melody | lyrics | voice | dance | stage | picture | photo | painting | statue | button | file |
    folder | code | function | library | database | server | network | password | account | login | email |
    message | video | channel | podcast | article | translation | release | feature | option | report | team |
    project | task | course | exam | homework | teacher | professor | graphics | level | puzzle | board game |
    cards | ball | racket | tent | boat | surgery | treatment | medicine | haircut | massage | workout | skin |
    back | neck | feet | ears | eyes | hands | flowers | plant | tree | grass | rain | snow | sun | wind |
    summer | winter | spring | autumn | morning | evening | night | weekend | birthday | wedding | anniversary |
    festival | parade | museum | tour | ride | queue | purchase | price | bill | refund | warranty | gift
""")

CIRCUMSTANCES = items("""
    from the first minute | from the first page | from the first day | after five minutes | after two weeks |
    after a week | last week | last summer | last night | yesterday | this morning | this year | all year |
    all day | all night | all week | every morning | every evening | every weekend | every time | for years |
    for two years | since we moved here | on Monday | on Sunday | in the evening | in the city | in town |
    in the kitchen | in the garden | in Paris | in Spain | in Italy | at home | at work | at school |
    at the airport | at the station | at the table | at night | for my daughter | for my son | for my wife |
    for my birthday | for our anniversary | with my friends | with my family | with two children |
    with my parents | on the way | on the plane | on the train | in the middle | at the end | at the beginning |
    in the second half | when we arrived | when I opened the box | when we left | while we were eating |
    during the show | before lunch | after dinner | after the update | since the update | since I bought it |
    of all the ones I tried | for such a small thing | for a family of four | for people like me |
    as far as I can tell | in my opinion | to my mind
""")
