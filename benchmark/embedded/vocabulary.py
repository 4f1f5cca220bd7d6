"""The closed English vocabulary of the embedded model, and filler prose made of it.

Every word here is one token of the model's tokenizer, and so is every two-digit half of a number.
``KEYS``, ``NOUNS``, ``ADJECTIVES``, ``VERBS``, ``ADVERBS`` and ``PREPOSITIONS`` share no word.
"""

from __future__ import annotations

from random import Random


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


KEYS: tuple[str, ...] = _words(
    """
    abbey acorn aloe almond amber anchor anvil apple apricot apron arrow aspen atlas
    attic bacon badge badger balcony bamboo banana banjo barley barrel basil
    basket bat beacon bead bean bear beaver beetle bell belt bench berry bicycle birch
    biscuit bison blanket blossom bobcat bolt bonnet boulder bouquet bowl bracelet bramble
    branch brass brick broccoli bronze brook broom brush bubble bucket buckle buffalo
    bugle bulb bumper butter butterfly button cabbage cabin cable cactus camel camera
    candle candy cannon canoe canvas canyon carpet carrot castle cave cedar cello chalk
    chapel cheese cherry chess chestnut chimney cider cinnamon clarinet claw clay cliff
    cloud clover coal cobalt cobra coconut comb comet compass copper coral cork cotton
    cottage cougar coyote crab cradle crane crater crayon cricket crocus crow crown crystal
    cube curtain cushion cypress daffodil dagger dahlia daisy dandelion deer desert
    diamond dice dolphin dome donkey dough dove dragon drawer drum duck dune eagle easel
    ebony eel elbow elephant elk elm ember emerald engine envelope falcon fan feather
    fence fern ferret ferry fiddle fig flag flamingo flask flint flute fog forest fork
    fossil fountain fox freezer frog funnel galaxy garden garlic garnet gate gazelle ghost
    giant ginger giraffe glacier globe glove goat goblet goose gopher gorilla granite grape
    gravel grove guitar hail hammer hammock hamster harbor harp hawk hazel hedge heron
    helmet hill honey hook hornet horse hut hyena icicle igloo ink inlet inkwell insect
    iris iron island ivory ivy jacket jade jaguar jam jar jasmine jelly jersey jewel jigsaw
    joker jungle kayak keg kennel kernel kettle kitten kite kiwi knight knot koala lace
    ladder lagoon lake lamp lantern lark laurel lava lavender lemon lentil leopard lever
    lily lime linen lion lizard llama lobster locket locust lotus lynx magnet magpie
    mango mantle maple marble mask mast mattress meadow medal melon mill mint mirror
    mitten mole monkey moon moose mosaic moss moth mountain mouse muffin mule mushroom
    mustard nail napkin narwhal nectar needle nest net newt nickel nugget nut nutmeg oak
    oar oasis oats ocean olive onion onyx opal orange orbit orchard orchid ostrich otter
    oven owl oyster paddle palace palm panda panther papaya parrot parsley peach peacock
    peanut pear pebble pelican pencil penguin pepper petal pheasant piano pier pigeon pillow
    pine pirate pitcher planet plum pocket pond pony poppy porridge prism pudding puffin
    pulley pump pumpkin puppet pyramid quail quarry quartz queen quilt quiver rabbit
    raccoon radish raft rail rain raisin raven reed reef ribbon rice ring river robin
    rocker rocket rope rose ruby rudder saddle saffron sail salmon sand sapphire satin saw
    scarf scooter seal shark sheep shell shield ship shovel shrimp silk silver skate sled
    slipper sloth snail snow soap sock sparrow spear spider spinach sponge spoon squid
    squirrel stable star statue stone stove straw sugar sulfur sunflower swan sweater sword
    syrup tail teapot temple tent thimble thistle thread throne thunder tiger tile timber
    toad toast toaster tomato torch tortoise toucan towel tower tractor tray treasure tree
    trumpet tulip tunnel turkey turnip turtle tweed umbrella urchin valley vase veil velvet
    vessel vine vinegar viola violet violin vulture waffle wagon walnut walrus wand warbler
    wasp waterfall weasel whale wheel whip whistle willow window wing wire wolf wool wreath
    wrench yak yarn yellow yogurt zebra zinc zipper
    """
)
"""Keys of needles and names of variables."""

NOUNS: tuple[str, ...] = _words(
    """
    farmer teacher student doctor painter sailor baker neighbor child driver writer
    singer village market street bridge school kitchen table chair letter book story
    song picture question morning evening winter summer train boat road field house door
    wall roof corner party dinner bread soup coffee paper plan idea dream journey
    visitor crowd team office library museum station hotel shop coat hat shoe bag box
    bottle cup plate clock phone
    """
)
"""Nouns of filler prose."""

LIST_WORDS: tuple[str, ...] = NOUNS[:24]
"""Entries of word lists; few, so that counts in a short list differ clearly."""

ADJECTIVES: tuple[str, ...] = _words(
    """
    old new small large quiet bright dark warm cold happy tired busy empty heavy light
    simple strange gentle clever brave early late clean dusty soft hard round tall short
    wide
    """
)

VERBS: tuple[str, ...] = _words(
    """
    watched followed carried found painted cleaned moved opened closed visited admired
    ignored described remembered crossed repaired sold bought lifted shared
    """
)

ADVERBS: tuple[str, ...] = _words(
    "slowly quickly often never again today yesterday together carefully later"
)

PREPOSITIONS: tuple[str, ...] = _words(
    "near behind under above beside across from inside around against"
)

TEMPLATE_WORDS: tuple[str, ...] = _words(
    """
    Text List Question Answer Store Copy The It What Which A How Most More magic number numbers word
    words list text question most frequent three two one variable variables value values hold
    holds follows comes about after before times occurs occur appears appear more less than
    many last first the a an in to for is are was were and or of on at as by with this that
    from all each every here there it its how what does do did not no be them these those only
    votes vote chose choose voter also so given read find name names top rank count counts
    common rare entry entries
    """
)
"""Words of the task wording; some are in another class too."""

KEY_SHARE = 0.08
"""Share of the nouns of filler prose that are keys: distractors without a number."""
NUMBER_SHARE = 0.05
"""Share of filler sentences that hold a number."""


def number(rng: Random) -> str:
    """Draw a number of four digits, leading zeros kept."""
    return f"{rng.randrange(10_000):04d}"


def filler_sentence(rng: Random) -> str:
    """Draw a sentence of prose that answers no question; it starts without a space."""

    def noun() -> str:
        return rng.choice(KEYS if rng.random() < KEY_SHARE else NOUNS)

    adjective, verb, preposition = (rng.choice(x) for x in (ADJECTIVES, VERBS, PREPOSITIONS))
    if rng.random() < NUMBER_SHARE:
        return f"The {noun()} with {number(rng)} was {adjective}."
    kind = rng.random()
    if kind < 0.37:
        return f"The {adjective} {noun()} {verb} the {noun()} {preposition} the {noun()}."
    if kind < 0.63:
        return f"The {noun()} was {adjective} and {rng.choice(ADJECTIVES)}."
    if kind < 0.84:
        return f"The {noun()} {verb} the {adjective} {noun()} {rng.choice(ADVERBS)}."
    return f"It was {adjective} {preposition} the {noun()}."
