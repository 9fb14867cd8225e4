"""General facts about places, animals, things and people; knows nothing of who studies them."""

from __future__ import annotations

from demo.relation import Relation, pairs

CAPITAL = Relation(
    "capital",
    "geography",
    pairs("""
        Norway=Oslo, Sweden=Stockholm, Denmark=Copenhagen, Finland=Helsinki, France=Paris
        Spain=Madrid, Portugal=Lisbon, Italy=Rome, Greece=Athens, Germany=Berlin
        Austria=Vienna, Poland=Warsaw, Hungary=Budapest, Turkey=Ankara, Egypt=Cairo
        Kenya=Nairobi, Ghana=Accra, Morocco=Rabat, Japan=Tokyo, China=Beijing
        India=Delhi, Thailand=Bangkok, Vietnam=Hanoi, Nepal=Kathmandu, Canada=Ottawa
        Cuba=Havana, Peru=Lima, Chile=Santiago, Ireland=Dublin, Russia=Moscow
    """),
    (
        "What is the capital of {x}?",
        "Which city is the capital of {x}?",
        "Tell me the capital of {x}.",
        "What is {x}'s capital?",
        "Name the capital city of {x}.",
        "The capital of {x} is which city?",
        "What city is the capital of {x}?",
        "I would like to know the capital of {x}.",
    ),
    "Can you name the capital of {x}?",
    "Please give me the capital city of {x}.",
    "The capital of {x} is {y}.",
)

CONTINENT = Relation(
    "continent",
    "geography",
    pairs("""
        Norway=Europe, Spain=Europe, Poland=Europe, Greece=Europe, Egypt=Africa, Kenya=Africa
        Ghana=Africa, Morocco=Africa, Japan=Asia, China=Asia, India=Asia, Nepal=Asia
        Vietnam=Asia, Peru=America, Chile=America, Canada=America, Cuba=America, Ireland=Europe
    """),
    (
        "On which continent is {x}?",
        "Which continent is {x} on?",
        "Where is {x}?",
        "What continent does {x} belong to?",
        "Tell me the continent of {x}.",
        "{x} is on which continent?",
        "Name the continent where {x} lies.",
    ),
    "Can you name the continent of {x}?",
    "Where in the world is {x}, on which continent?",
    "{x} is in {y}.",
)

COLOUR = Relation(
    "colour",
    "things",
    pairs("""
        grass=green, snow=white, the sky=blue, a lemon=yellow, coal=black, blood=red
        milk=white, a carrot=orange, a banana=yellow, a tomato=red, chocolate=brown
        a cloud=white, the sea=blue, a frog=green, the night=black, a leaf=green
        a plum=purple, a strawberry=red, butter=yellow, an elephant=grey, a pig=pink
        a pumpkin=orange, a raven=black, lavender=purple
    """),
    (
        "What colour is {x}?",
        "What is the colour of {x}?",
        "Which colour does {x} have?",
        "Tell me the colour of {x}.",
        "{x} has what colour?",
        "What colour has {x}?",
        "Name the colour of {x}.",
    ),
    "Can you tell me what colour {x} has?",
    "Which colour is {x}?",
    "{x} is {y}.",
)

MATERIAL = Relation(
    "material",
    "things",
    pairs("""
        bread=flour, wine=grapes, cheese=milk, a window=glass, paper=wood, a candle=wax
        a sweater=wool, a coin=metal, a brick=clay, a tyre=rubber, an omelette=eggs
        a shoe=leather, a shirt=cotton, a castle=stone, an igloo=snow, a chair=wood
    """),
    (
        "What is {x} made of?",
        "What do people use to make {x}?",
        "Tell me what {x} is made of.",
        "{x} is made of what?",
        "Which material makes {x}?",
        "From what is {x} made?",
        "Name what {x} is made of.",
    ),
    "Can you say what {x} is made of?",
    "Of what is {x} made?",
    "{x} is made of {y}.",
)

SOUND = Relation(
    "sound",
    "animals",
    pairs("""
        cow=moo, cat=meow, dog=woof, duck=quack, sheep=baa, horse=neigh, pig=oink, lion=roar
        bee=buzz, snake=hiss, owl=hoot, frog=croak, mouse=squeak, wolf=howl, hen=cluck
    """),
    (
        "What sound does the {x} make?",
        "What does the {x} say?",
        "Which sound does a {x} make?",
        "Tell me the sound of the {x}.",
        "How does the {x} sound?",
        "The {x} makes what sound?",
        "Name the sound that the {x} makes.",
    ),
    "Can you make the sound of the {x}?",
    "What is the sound of the {x}?",
    "The {x} says {y}.",
)

BABY = Relation(
    "baby",
    "animals",
    pairs("""
        cow=calf, cat=kitten, dog=puppy, duck=duckling, sheep=lamb, horse=foal, pig=piglet
        lion=cub, goat=kid, hen=chick, swan=cygnet, frog=tadpole, deer=fawn, owl=owlet
        goose=gosling, eel=elver
    """),
    (
        "What is a young {x} called?",
        "What do you call a baby {x}?",
        "What is a baby {x}?",
        "Tell me the name of a baby {x}.",
        "A baby {x} is called what?",
        "Name the baby of the {x}.",
        "How do we call the young of a {x}?",
    ),
    "Can you name a baby {x}?",
    "What is the name of a young {x}?",
    "A baby {x} is called a {y}.",
)

HOME = Relation(
    "home",
    "animals",
    pairs("""
        bee=hive, bird=nest, dog=kennel, horse=stable, spider=web, lion=den, rabbit=burrow
        pig=sty, fish=water, cow=barn, camel=desert, monkey=jungle, beaver=lodge, hen=coop
        bear=cave, squirrel=tree
    """),
    (
        "Where does the {x} live?",
        "What is the home of the {x}?",
        "Where is the {x} at home?",
        "Tell me where the {x} lives.",
        "In what place does a {x} live?",
        "The {x} lives where?",
        "Name the home of the {x}.",
    ),
    "Can you say where the {x} lives?",
    "Where is the home of a {x}?",
    "The {x} lives in the {y}.",
)

LEGS = Relation(
    "legs",
    "animals",
    pairs("""
        dog=4, cow=4, hen=2, duck=2, spider=8, bee=6, ant=6, snake=0, fish=0, horse=4, owl=2
        crab=10, beetle=6, octopus=8, lion=4, swan=2
    """),
    (
        "How many legs does the {x} have?",
        "How many legs has a {x}?",
        "What number of legs does the {x} have?",
        "Tell me how many legs the {x} has.",
        "The {x} has how many legs?",
        "Count the legs of a {x}.",
        "On how many legs does a {x} walk?",
    ),
    "Can you say how many legs a {x} has?",
    "Please count the legs of the {x}.",
    "The {x} has {y} legs.",
)

AUTHOR = Relation(
    "author",
    "people",
    pairs("""
        Hamlet=Shakespeare, Emma=Austen, Ulysses=Joyce, Faust=Goethe, Dracula=Stoker
        Frankenstein=Shelley, Candide=Voltaire, Inferno=Dante, Don Quixote=Cervantes
        Oliver Twist=Dickens, War and Peace=Tolstoy, The Trial=Kafka, The Odyssey=Homer
        Moby Dick=Melville, The Idiot=Dostoevsky, Pinocchio=Collodi
    """),
    (
        "Who wrote {x}?",
        "Who is the author of {x}?",
        "Which author wrote {x}?",
        "Tell me the author of {x}.",
        "By whom was {x} written?",
        "{x} was written by whom?",
        "Name the writer of {x}.",
    ),
    "Can you name the author of {x}?",
    "Which writer wrote the book {x}?",
    "{x} was written by {y}.",
)

WORK = Relation(
    "work",
    "people",
    pairs("""
        bakes bread=baker, teaches children=teacher, flies a plane=pilot, grows food=farmer
        cures the sick=doctor, puts out fires=firefighter, cuts hair=barber, paints walls=painter
        sails the seas=sailor, catches fish=fisherman, sells meat=butcher, sews clothes=tailor
        repairs pipes=plumber, writes books=writer, plays music=musician, cooks meals=cook
        builds houses=builder, looks at stars=astronomer
    """),
    (
        "Who {x}?",
        "Which person {x}?",
        "What do you call somebody who {x}?",
        "Tell me who {x}.",
        "A person who {x} is called what?",
        "Name the person who {x}.",
        "What is the job of a person who {x}?",
    ),
    "Can you tell me who {x}?",
    "What is the name for someone who {x}?",
    "A person who {x} is a {y}.",
    can_follow=False,
)

FACTS: tuple[Relation, ...] = (
    CAPITAL,
    CONTINENT,
    COLOUR,
    MATERIAL,
    SOUND,
    BABY,
    HOME,
    LEGS,
    AUTHOR,
    WORK,
)
