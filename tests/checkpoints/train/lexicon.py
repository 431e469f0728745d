"""Hand-written words and phrases of praise and complaint, from which ``grammar.py`` composes sentences.

Written for this project; one item per ``|``. Index 0 of each pair is negative, index 1 positive, as in the labels.
"""

Pair = tuple[list[str], list[str]]


def items(text: str) -> list[str]:
    """Split at ``|`` and normalise white space."""
    return [" ".join(item.split()) for item in text.split("|") if item.strip()]


ADJECTIVES: Pair = (
    items("""
        terrible | awful | horrible | bad | poor | dreadful | disappointing | boring | dull | rude | slow | ugly |
        useless | worthless | pathetic | annoying | frustrating | broken | cheap-looking | flimsy | dirty | filthy |
        noisy | nasty | disgusting | bland | tasteless | stale | soggy | overpriced | overrated | predictable |
        tedious | pointless | confusing | clumsy | buggy | unreliable | unstable | unusable | sluggish | laggy |
        unhelpful | unfriendly | unprofessional | careless | dishonest | misleading | shoddy | mediocre | lousy |
        atrocious | appalling | abysmal | miserable | painful | unbearable | unpleasant | unacceptable |
        inexcusable | ridiculous | laughable | lazy | weak | forgettable | lifeless | shallow | cliched | messy |
        chaotic | uncomfortable | cramped | smelly | greasy | burnt | undercooked | overcooked | rotten | inedible |
        faulty | defective | inaccurate | incomplete | outdated | bloated | complicated | cumbersome | hopeless |
        depressing | irritating | infuriating | insulting | offensive | arrogant | dismissive | impatient |
        incompetent | sloppy | tacky | hideous | bleak | gloomy | stupid | silly | dumb | embarrassing | awkward |
        wooden | flat | hollow | uninspired | unoriginal | unfunny | exhausting | stressful | shocking | scary |
        dangerous | unsafe | fragile | brittle | subpar | substandard | inferior | inadequate | insufficient |
        unfair | outrageous | excessive | unimpressive | underwhelming | lacklustre | lackluster | regrettable |
        unsatisfactory | unhappy with life | grim | horrendous | horrid | vile | gross | revolting | sickening |
        crude | tiresome | monotonous | repetitive | incoherent | nonsensical | absurd | disastrous | catastrophic |
        ghastly | untrustworthy | hostile | cold and distant | neglected | shabby | run-down | rusty | leaky |
        mouldy | sour | bitter | wrong | sad | worn out | tasteless and dry | watery | chewy | lukewarm |
        disorganised | disorganized | glitchy | clunky
    """),
    items("""
        great | good | excellent | wonderful | amazing | fantastic | superb | brilliant | outstanding | terrific |
        awesome | perfect | lovely | beautiful | delightful | charming | friendly | helpful | kind | polite | fast |
        quick | reliable | sturdy | solid | durable | comfortable | cosy | cozy | clean | spotless | tidy | quiet |
        peaceful | relaxing | delicious | tasty | fresh | flavourful | yummy | crisp | juicy | affordable |
        worthwhile | useful | handy | practical | intuitive | simple to use | easy to use | smooth | responsive |
        stable | efficient | effective | powerful | impressive | remarkable | exceptional | extraordinary |
        incredible | magnificent | marvellous | marvelous | splendid | stunning | gorgeous | elegant | stylish |
        attractive | pleasant | enjoyable | entertaining | funny | hilarious | witty | clever | smart | touching |
        moving | gripping | thrilling | exciting | captivating | fascinating | engaging | memorable |
        unforgettable | inspiring | uplifting | refreshing | original | creative | imaginative | thoughtful |
        insightful | informative | professional | attentive | courteous | welcoming | warm | generous | honest |
        trustworthy | patient | competent | knowledgeable | skilled | talented | flawless | faultless |
        first-class | top-notch | world-class | stellar | sublime | heavenly | divine | fabulous | phenomenal |
        sensational | spectacular | breathtaking | charming and bright | satisfying | rewarding | fun | cheerful |
        happy | joyful | cool | nice | fine | decent | well made | well written | well designed | well organised |
        polished | robust | accurate | precise | versatile | convenient | spacious | luxurious | bright | cute |
        adorable | sweet | heart-warming | heartwarming | enchanting | magical | masterful | exquisite | admirable |
        commendable | valuable | superior | ideal | favourable | safe | fair | prompt | punctual | speedy |
        seamless | effortless | painless | hassle-free | lightweight | vivid | lively | vibrant | energetic |
        passionate | tender | creamy | crunchy | fragrant | wholesome | healthy
    """),
)

VERBS_PAST: Pair = (
    items("""
        hated | disliked | regretted | loathed | despised | returned | could not stand | couldn't stand |
        cannot stand | detested | got sick of | struggled with | was let down by | was disappointed by |
        was disappointed with | was bored by | was annoyed by | was disgusted by | was unhappy with | was upset by |
        was shocked by | was frustrated by | was tired of | gave up on | walked out of | complained about |
        fell asleep during | wasted money on | felt cheated by | wanted a refund for |
        had nothing but trouble with | suffered through | was underwhelmed by | was appalled by
    """),
    items("""
        loved | liked | enjoyed | adored | admired | appreciated | treasured | really like | really love |
        am in love with | fell in love with | was impressed by | was impressed with | was delighted by |
        was delighted with | was thrilled with | was happy with | was pleased with | was amazed by |
        was charmed by | was moved by | was blown away by | am a fan of | am happy with | am so glad I found |
        cannot get enough of | can't get enough of | had a great time with | praised | was satisfied with |
        am grateful for | had fun with | was pleasantly surprised by | could not stop smiling at
    """),
)

VERBS_BASE: Pair = (
    items("hate | dislike | regret | loathe | despise | detest | complain about | resent | dread"),
    items("like | love | enjoy | adore | appreciate | recommend | trust | admire | value | want more of | care for"),
)

NOUNS: Pair = (
    items("""
        disaster | disappointment | nightmare | waste of time | waste of money | failure | mess | joke | rip-off |
        scam | letdown | insult | mistake | catastrophe | pain | chore | shame | embarrassment | flop | bore | dud |
        fiasco | fraud | disgrace | piece of junk | piece of garbage | load of rubbish | con | burden | travesty |
        headache | train wreck
    """),
    items("""
        delight | joy | pleasure | triumph | masterpiece | gem | treat | success | bargain | winner | treasure |
        miracle | dream come true | work of art | breath of fresh air | hit | must-see | must-have | lifesaver |
        classic | blast | revelation | marvel | wonder | steal | blessing | keeper | thing of beauty |
        great experience | game changer
    """),
)

# Whole clauses whose polarity no adjective carries.
IDIOMS: Pair = (
    items("""
        save your money | avoid at all costs | stay away | never again | do not waste your time | what a letdown |
        it fell apart after a week | it broke on the first day | it stopped working after two days |
        I want my money back | I want a refund | I asked for a refund | I would give zero stars if I could |
        one star is too generous | I will never come back | we will not be coming back | I will not buy it again |
        I would not wish it on anyone | I wish I had never bought it | I wish I had read the reviews first |
        I regret every penny | it went straight in the bin | I threw it away | I sent it back | two thumbs down |
        it left a bad taste in my mouth | not worth the price | not worth the money | it is not worth your time |
        it was a waste of an evening | I fell asleep halfway through | I could not wait for it to end |
        I walked out before the end | I deserve those two hours back | nobody answered the phone |
        they never replied | they ignored my emails | it never arrived | it arrived damaged | it arrived broken |
        the parcel was lost | half the parts were missing | it keeps crashing | it crashes all the time |
        it froze again | it deleted my files | I lost all my work | it drains the battery | it gave me a headache |
        it made me sick | we got food poisoning | there was a hair in my soup | we waited over an hour |
        they got our order wrong | they overcharged us | they charged me twice | the room smelled of smoke |
        there were bugs in the bed | the walls were paper thin | the heating did not work |
        our flight was cancelled | they lost my luggage | it ruined our holiday | it ruined my day |
        it spoiled the whole evening | it left me cold | it bored me to tears | I expected much more |
        I expected better | it does not do what it promises | it does not work | it does not even turn on |
        nothing works as advertised | it goes from bad to worse | it makes no sense | look elsewhere |
        buy something else | don't bother | you get what you pay for and this is junk | it could not be worse |
        it couldn't get any worse | it was all downhill from there | I have had enough |
        I am done with this company | I am fed up | I felt ignored | I felt cheated | what a shame | shame on them |
        they should be ashamed | it drove me crazy | it drives me mad | I gave up after ten minutes |
        I uninstalled it at once | I cancelled my subscription | it let us down | it failed when we needed it most |
        it falls short in every way | there is nothing good to say about it
    """),
    items("""
        highly recommended | I would recommend it to anyone | worth every penny | worth the money |
        well worth the wait | well worth a visit | two thumbs up | five stars | ten out of ten | I will be back |
        we will definitely come back | I can't wait to go back | I cannot wait to see it again |
        I would buy it again | I would do it all again | I have already ordered another one |
        I bought a second one for my sister | my kids love it | my whole family loves it | everyone was smiling |
        it made my day | it made me smile | it made me laugh out loud | I laughed until I cried |
        it exceeded my expectations | it exceeded all expectations | better than I expected |
        it works like a charm | it works perfectly | it just works | it does exactly what it promises |
        it does exactly what I need | it never lets me down | it has never let me down | it did not disappoint |
        it never disappoints | it saved me hours of work | it saved my day | it changed my life |
        I could not be happier | I couldn't be happier | we could not have asked for more |
        I could not put it down | I could not ask for more | I have no complaints |
        I have nothing to complain about | there is nothing to complain about | nothing could be better |
        it doesn't get any better than this | hats off to the team | thank you so much |
        thanks to everyone involved | keep up the good work | well done | what a treat | what a find | I am hooked |
        I am impressed | count me in | it arrived a day early | it arrived earlier than promised |
        they answered within minutes | they fixed it at once | they went out of their way to help |
        they went the extra mile | they made us feel at home | we felt welcome from the first minute |
        I slept like a baby | we had a wonderful time | we had the time of our lives | it was love at first sight |
        it melted in my mouth | I licked the plate clean | the plates were empty in minutes |
        the view took my breath away | it kept me on the edge of my seat |
        it brought tears to my eyes in the best way | it gets better every time |
        the more I use it the more I love it | I use it every day | I would not change a thing |
        I can't imagine life without it | it still looks like new | it still works like new after years |
        a real step up | everything went smoothly | it runs without a hitch | it was a breeze to set up |
        good value for money | you won't regret it | you will not be disappointed | don't miss it | go and see it |
        a must for every home | it lived up to the hype | it ticks all the boxes
    """),
)

PLACES_AND_THINGS = items("""
    film | movie | book | novel | show | series | play | concert | song | album | game | phone | laptop | camera |
    tablet | keyboard | headset | charger | watch | car | bike | vacuum cleaner | coffee machine | blender |
    jacket | dress | pair of shoes | mattress | sofa | chair | lamp | restaurant | cafe | bar | bakery | hotel |
    hostel | resort | airline | flight | train ride | cruise | tour | museum | beach | city | app | program |
    website | library | tool | plugin | update | editor | package | service | company | shop | store | staff |
    team | product | place | experience | trip | holiday | meal | dinner | breakfast | course | teacher | doctor |
    hairdresser | gym | event | party | present | gift
""")

ASPECTS = items("""
    acting | plot | story | ending | script | dialogue | soundtrack | music | cast | direction | pace |
    camera work | writing | main character | characters | jokes | special effects | battery | screen | display |
    sound | sound quality | picture | build quality | quality | design | price | packaging | delivery |
    customer service | customer support | support | manual | instructions | documentation | interface |
    performance | installation | setup | search | menu | food | soup | steak | pizza | pasta | bread | dessert |
    cake | coffee | wine | fish | chicken | salad | sauce | burger | waiter | waitress | chef | service | staff |
    manager | driver | guide | receptionist | room | bed | bathroom | shower | pool | view | location | lobby |
    neighbourhood | seat | crew | weather | atmosphere | decor | fabric | colour | fit | zipper | handle | motor |
    engine | lid | lens | software | idea | lesson | lecture | queue | line | checkout
""")

# (subjects, negative predicates, positive predicates): facts that only make sense together.
SCENES: list[tuple[list[str], list[str], list[str]]] = [
    (
        items("""
            the food | the soup | the steak | the pizza | the pasta | the fish | my dinner | our meal | the burger |
            the chicken | breakfast | the coffee | the dessert | every dish | the bread
        """),
        items("""
            was cold | arrived cold | was stone cold | tasted like cardboard | was burnt | was raw in the middle |
            was far too salty | was too dry | had no flavour | tasted of nothing | was swimming in oil |
            made us ill | was served late | took forever to come | smelled off | was hard as a rock |
            was left untouched
        """),
        items("""
            was cooked to perfection | tasted fresh | was full of flavour | melted in the mouth | came quickly |
            was hot and fresh | was the best I have ever had | was out of this world | was beautifully presented |
            tasted like home | had us asking for more | was to die for | was seasoned just right
        """),
    ),
    (
        items("""
            the waiter | the waitress | our server | the staff | the manager | the driver | the receptionist |
            the crew | the lady at the desk | the man on the phone | the guide | the seller | the owner |
            customer service | the support team | the doctor | my teacher | the nurse
        """),
        items("""
            ignored us | shouted at us | rolled his eyes | was rude | was never around | forgot our order |
            kept us waiting | hung up on me | lied to us | refused to help | did not care |
            could not answer a single question | treated us like dirt | made a mess of it | blamed me |
            never apologised | argued with us
        """),
        items("""
            greeted us with a smile | was so kind | answered all my questions | went above and beyond |
            helped me right away | knew everything about it | remembered our names | made us laugh |
            took good care of us | was always smiling | solved the problem in minutes | could not do enough for us |
            explained everything clearly | was patient with the children | gave us great tips | looked after us well
        """),
    ),
    (
        items("""
            the film | the movie | the show | the book | the novel | the story | the plot | the play | the sequel |
            the second half | the first episode | the final season | the script
        """),
        items("""
            dragged on | put me to sleep | made no sense | went nowhere | fell flat | was too long |
            lost me halfway | was full of holes | wasted a fine cast | bored everyone | fell apart |
            ran out of ideas | insults the viewer | never gets going | was painful to watch | left me empty |
            tried too hard
        """),
        items("""
            kept me guessing | had me in tears | made us laugh all night | held my attention to the end |
            stayed with me for days | was beautifully shot | flew by | touched my heart | had a wonderful twist |
            deserves every award | left me speechless | kept us glued to the screen | came together perfectly
        """),
    ),
    (
        items("""
            the phone | the laptop | the camera | the machine | the vacuum | the charger | the watch | the toy |
            the blender | this thing | the product | the headset | the kettle | the printer | the chair | the bike
        """),
        items("""
            broke after a week | stopped working | fell apart | does not turn on | overheats |
            makes a terrible noise | scratches easily | came with parts missing | looks cheap | leaks everywhere |
            died within a month | lasts an hour at best | never worked | feels like a toy | smells of plastic |
            jams every time
        """),
        items("""
            works like a dream | lasts all day | feels solid | looks great on the desk | is still going strong |
            runs quietly | charges in no time | takes stunning pictures | does the job | was easy to assemble |
            has survived many falls | saves so much time | looks even better in person | is built to last
        """),
    ),
    (
        items("""
            the app | the program | the software | the website | the update | the new version | the library |
            the plugin | the tool | the editor | the game | the installer | the search
        """),
        items("""
            crashes constantly | keeps freezing | is full of bugs | is full of ads | takes ages to load |
            lost my data | does not start | is impossible to use | broke everything | eats all my memory |
            hangs on every click | logs me out all the time | hides every setting | ruined my workflow |
            asks for money at every step
        """),
        items("""
            runs smoothly | loads in an instant | made my work easier | is a joy to use | has never crashed |
            saves me hours every week | just works | is packed with useful features | fixed all my problems |
            does one thing and does it well | is so simple to learn | got even better | makes sense right away
        """),
    ),
    (
        items("""
            the room | our room | the hotel | the bathroom | the apartment | the hostel | the beach | the pool |
            the cabin | the lobby | the campsite
        """),
        items("""
            was dirty | smelled of mould | was freezing | had stains everywhere | was full of rubbish |
            looked nothing like the photos | was far too small | was right above a noisy bar | had no hot water |
            had cockroaches | was falling apart | was crowded and loud | had a broken lock
        """),
        items("""
            was spotless | had a stunning view | was bright and airy | felt like home | was close to everything |
            looked just like the photos | was a quiet little paradise | had everything we needed | smelled fresh |
            was bigger than expected | was warm and cosy | had the softest bed
        """),
    ),
    (
        items("""
            the flight | the train | the journey | the trip | the tour | our holiday | the parcel | my order |
            the delivery | the package | the bus | the weekend
        """),
        items("""
            was delayed for hours | was cancelled without notice | got lost | was late again | arrived in pieces |
            never showed up | was a nightmare from start to finish | cost far too much |
            was sent to the wrong address | was ruined by the rain | took three weeks longer than promised |
            made me miss my meeting
        """),
        items("""
            was on time | arrived early | went without a hitch | was the highlight of our year | came the next day |
            was worth every mile | was well organised | arrived safe and sound | flew past |
            gave us memories for life | was smooth from start to finish | was carefully packed
        """),
    ),
]

# Things people like or dislike whatever the grammar around them.
ACTIVITIES: Pair = (
    items("""
        waiting in line | waiting in queues | standing in traffic | losing my keys | paying for nothing |
        being ignored | being lied to | cleaning up the mess | filling in forms | sitting in meetings all day |
        missing the bus | getting up for nothing | losing my work | calling the hotline | rude people |
        hidden fees | spam | delays | paperwork | long waits | noise | cold weather | Mondays | doing the dishes |
        traffic jams | ads | bugs | this rain
    """),
    items("""
        walking on the beach | reading in the garden | cooking with friends | playing with my dog |
        listening to this band | coming home | spending time with family | weekends | sunny mornings | dancing |
        good coffee | this song | fresh bread | travelling | long walks | hiking | learning new things | music |
        surprises | birthdays | the smell of spring | swimming
    """),
)

FEELINGS: Pair = (
    items("""
        sad | unhappy | disappointed | angry | upset | annoyed | frustrated | bored | furious | devastated |
        ashamed | worried | let down | fed up | tired | miserable | disgusted | embarrassed | heartbroken | sorry |
        irritated | lonely | sick | not amused | not happy | not satisfied | not impressed | less than happy |
        far from happy
    """),
    items("""
        happy | glad | pleased | delighted | thrilled | excited | proud | grateful | thankful | satisfied |
        impressed | amazed | overjoyed | over the moon | relieved | cheerful | content | lucky | honoured |
        inspired | so happy | more than happy | very pleased | in love | ecstatic | charmed | touched | hopeful
    """),
)
