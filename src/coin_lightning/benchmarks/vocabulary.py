"""The things CoIN-mini can draw: common objects with OpenMoji character, kind and, where it is certain, colour."""

from dataclasses import dataclass

_KINDS = {
    "animal": """dog🐶 cat🐱 mouse🐭 hamster🐹 rabbit🐰 fox🦊 bear🐻 panda🐼 koala🐨 tiger🐯
        lion🦁 cow🐮 pig🐷 frog🐸 monkey🐵 chicken🐔 penguin🐧 bird🐦 duck🦆 eagle🦅 owl🦉 bat🦇
        wolf🐺 horse🐴 unicorn🦄 bee🐝 caterpillar🐛 butterfly🦋 snail🐌 ladybug🐞 ant🐜
        spider🕷 scorpion🦂 turtle🐢 snake🐍 lizard🦎 octopus🐙 squid🦑 shrimp🦐 lobster🦞
        crab🦀 dolphin🐬 whale🐳 shark🦈 crocodile🐊 leopard🐆 zebra🦓 gorilla🦍 elephant🐘
        hippo🦛 rhino🦏 camel🐪 giraffe🦒 kangaroo🦘 sheep🐑 goat🐐 deer🦌 rooster🐓 turkey🦃
        peacock🦚 parrot🦜 swan🦢 flamingo🦩 raccoon🦝 skunk🦨 otter🦦 sloth🦥 hedgehog🦔
        squirrel🐿 mosquito🦟 fish🐟 dinosaur🦕 ram🐏""",
    "food": """apple🍎 pear🍐 orange🍊 lemon🍋 banana🍌 watermelon🍉 grapes🍇 strawberry🍓
        melon🍈 cherries🍒 peach🍑 mango🥭 pineapple🍍 coconut🥥 kiwi🥝 tomato🍅 eggplant🍆
        avocado🥑 broccoli🥦 cucumber🥒 pepper🌶 corn🌽 carrot🥕 garlic🧄 onion🧅 potato🥔
        croissant🥐 bread🍞 baguette🥖 pretzel🥨 cheese🧀 egg🥚 pancakes🥞 waffle🧇 bacon🥓
        steak🥩 hamburger🍔 fries🍟 pizza🍕 sandwich🥪 taco🌮 salad🥗 spaghetti🍝 sushi🍣
        cupcake🧁 pie🥧 chocolate🍫 candy🍬 lollipop🍭 doughnut🍩 cookie🍪 milk🥛 cake🎂
        popcorn🍿 honey🍯""",
    "plant": """tree🌳 cactus🌵 tulip🌷 rose🌹 sunflower🌻 mushroom🍄 clover🍀 leaf🍁 palm🌴
        hibiscus🌺 herb🌿""",
    "vehicle": """car🚗 taxi🚕 bus🚌 ambulance🚑 truck🚛 van🚚 tractor🚜 bicycle🚲 scooter🛴
        motorcycle🏍 train🚆 locomotive🚂 airplane✈ rocket🚀 helicopter🚁 sailboat⛵ ship🚢
        canoe🛶 tram🚋 skateboard🛹""",
    "clothing": """shirt👕 jeans👖 dress👗 coat🧥 scarf🧣 gloves🧤 socks🧦 hat👒 crown👑 boot👢
        sneaker👟 sandal👡 necktie👔 glasses👓 handbag👜 backpack🎒 ring💍 cap🧢""",
    "tool": """hammer🔨 axe🪓 wrench🔧 saw🪚 screwdriver🪛 scissors✂ key🔑 lock🔒 broom🧹
        magnet🧲 ladder🪜 pickaxe⛏ needle🪡 umbrella☂ candle🕯 basket🧺 bucket🪣 toothbrush🪥
        anchor⚓ compass🧭 pen🖊 pencil✏ knife🔪 spoon🥄""",
    "instrument": """guitar🎸 violin🎻 trumpet🎺 drum🥁 saxophone🎷 piano🎹 banjo🪕 accordion🪗
        bell🔔 microphone🎤""",
    "toy": """football⚽ basketball🏀 baseball⚾ balloon🎈 kite🪁 yoyo🪀 dice🎲 puzzle🧩 robot🤖
        teddy🧸 trophy🏆 present🎁 target🎯""",
    "building": """house🏠 castle🏰 church⛪ school🏫 hospital🏥 factory🏭 tent⛺ bridge🌉 hut🛖
        tower🗼""",
    "furniture": """chair🪑 bed🛏 couch🛋 door🚪 window🪟 bathtub🛁 toilet🚽 mirror🪞 bulb💡""",
    "device": """phone📱 laptop💻 printer🖨 camera📷 television📺 radio📻 watch⌚ clock⏰
        battery🔋 telescope🔭 microscope🔬 abacus🧮""",
    "nature": """sun☀ moon🌙 star⭐ cloud☁ rainbow🌈 snowflake❄ snowman⛄ fire🔥 volcano🌋
        mountain⛰ globe🌍 lightning⚡""",
}

_COLOURED = {
    "heart": "red❤ orange🧡 yellow💛 green💚 blue💙 purple💜 black🖤 white🤍 brown🤎",
    "square": "red🟥 orange🟧 yellow🟨 green🟩 blue🟦 purple🟪 black⬛ white⬜ brown🟫",
    "circle": "red🔴 orange🟠 yellow🟡 green🟢 blue🔵 purple🟣 black⚫ white⚪ brown🟤",
    "book": "red📕 green📗 blue📘 orange📙",
}

_CLASSES = """dog cat rabbit fox bear panda tiger lion cow pig frog penguin owl butterfly
    ladybug turtle snake octopus crab whale elephant giraffe zebra apple pear orange lemon
    banana watermelon grapes strawberry pineapple carrot corn broccoli pizza hamburger bread
    cheese cake tree cactus tulip sunflower mushroom car bus truck bicycle train rocket airplane
    sailboat shirt glasses umbrella hammer scissors guitar drum football balloon house castle
    chair clock"""


@dataclass(frozen=True)
class Thing:
    """One drawable object: ``name`` without article, OpenMoji ``char``, ``kind``, and ``colour`` or an empty string."""

    name: str
    char: str
    kind: str
    colour: str = ""

    @property
    def phrase(self) -> str:
        """How a sentence calls it: ``red heart``, ``dog``."""
        return f"{self.colour} {self.name}" if self.colour else self.name


def _split(entry: str) -> tuple[str, str]:
    name = "".join(c for c in entry if c.isascii())
    return name, entry[len(name) :]


THINGS: tuple[Thing, ...] = tuple(
    Thing(*_split(entry), kind=kind) for kind, text in _KINDS.items() for entry in text.split()
)
BY_NAME: dict[str, Thing] = {thing.name: thing for thing in THINGS}
COLOURED: tuple[Thing, ...] = tuple(
    Thing(name, char, "shape" if name != "book" else "object", colour)
    for name, text in _COLOURED.items()
    for colour, char in map(_split, text.split())
)
COLOURS: tuple[str, ...] = ("red", "orange", "yellow", "green", "blue", "purple", "black", "white", "brown")
# The class names of the ImageNet counterpart, capitalised as CoIN's are.
CLASSES: tuple[Thing, ...] = tuple(BY_NAME[name] for name in _CLASSES.split())
_PLURALS = {"cherries", "grapes", "jeans", "gloves", "socks", "glasses", "scissors", "fries", "pancakes", "spaghetti"}
_MASS = {"bread", "cheese", "honey", "milk", "popcorn", "bacon", "corn", "garlic", "chocolate", "fire", "lightning"}
_IRREGULAR = {"mouse": "mice", "sheep": "sheep", "fish": "fish", "wolf": "wolves", "leaf": "leaves", "knife": "knives"}
_IRREGULAR |= {"tomato": "tomatoes", "potato": "potatoes", "hippo": "hippos", "canoe": "canoes", "dice": "dice"}
# Only things with an ordinary singular are counted or asked after with "Is there a ...?".
COUNTABLE: tuple[Thing, ...] = tuple(t for t in THINGS if t.name not in _PLURALS | _MASS | {"sushi", "shrimp"})
# Names of things that a background photo shows too: never asked for as absent, never counted.
IN_PHOTOS = frozenset({"rocket", "cat"})


def plural(name: str) -> str:
    """The English plural of a noun of this vocabulary (``box`` -> ``boxes``, ``mouse`` -> ``mice``)."""
    if name in _IRREGULAR:
        return _IRREGULAR[name]
    if name.endswith(("s", "x", "z", "ch", "sh")):
        return f"{name}es"
    if name.endswith("y") and name[-2] not in "aeiou":
        return f"{name[:-1]}ies"
    return f"{name}s"


def with_article(phrase: str) -> str:
    """``a dog``, ``an apple``, ``a unicorn``; plural and uncountable nouns stay bare."""
    last = phrase.split()[-1]
    if last in _PLURALS or last in _MASS:
        return phrase
    vowel = phrase[0] in "aeiouAEIOU" and not phrase.lower().startswith("uni")
    return f"{'an' if vowel else 'a'} {phrase}"
