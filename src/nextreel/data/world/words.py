"""Words of the synthetic world: categories, their child categories, topics, and patterns of titles."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Words:
    """One main category: topics by child category, and patterns in which {} is the topic."""

    topics: dict[str, tuple[str, ...]]
    patterns: tuple[str, ...]
    minutes: float  # median length
    maturity: int = 0  # least suitable age of its grown-up videos


BANK: dict[str, Words] = {
    "Cooking": Words(
        {
            "Baking": ("Sourdough", "Croissants", "Cinnamon Rolls", "Rye Bread", "Cheesecake", "Focaccia", "Brioche"),
            "Street Food": ("Tacos al Pastor", "Bánh Mì", "Okonomiyaki", "Falafel", "Pani Puri", "Arepas", "Dumplings"),
            "Vegetarian": ("Lentil Dal", "Roast Cauliflower", "Mushroom Risotto", "Ratatouille", "Chickpea Stew",
                           "Tofu Scramble", "Pumpkin Soup"),
        },
        ("{} for Beginners: the Overnight Method", "{} in Thirty Minutes", "The Only {} Recipe You Need",
         "{}: Five Mistakes to Avoid", "My Grandmother's {}", "{} on a Small Budget", "A Chef Explains {}",
         "{} without an Oven"),
        9.0,
    ),
    "Gaming": Words(
        {
            "Strategy": ("Harbour Empires", "Hexfall", "Iron Dominion", "Settlers of Mars", "Clockwork Kings",
                         "Frontier Tactics", "Tiny Nations"),
            "Speedruns": ("Moonlight Runner", "Pixel Knight", "Gravity Loop", "Castle Dash", "Neon Drifter",
                          "Slime Odyssey", "Turbo Tomb"),
            "Indie": ("Lantern Valley", "The Quiet Lighthouse", "Paper Wolves", "Moss & Bone", "Night Ferry",
                      "Little Archivist", "Cloud Farm"),
        },
        ("{}: Full Walkthrough", "I Finished {} without Dying", "{} Tips the Tutorial Leaves Out",
         "Why {} Is Better than You Think", "{} World Record Explained", "First Hour of {}",
         "{}: Every Secret Ending", "Ranking Every Level of {}"),
        22.0,
        16,
    ),
    "Music": Words(
        {
            "Guitar": ("Fingerstyle Guitar", "Barre Chords", "Blues Licks", "Slide Guitar", "Flamenco Strumming",
                       "Open Tunings", "Jazz Voicings"),
            "Electronic": ("Ambient Pads", "Acid Basslines", "Modular Synths", "House Drums", "Lo-Fi Beats",
                           "Granular Textures", "Dub Techno"),
            "Classical": ("Bach's Cello Suites", "Chopin's Nocturnes", "Schubert's Songs", "Vivaldi's Winter",
                          "Ravel's Bolero", "Brahms' Symphonies", "Satie's Gymnopédies"),
        },
        ("{} Live at the Old Mill", "Learn {} in One Evening", "One Hour of {} for Deep Work",
         "What Makes {} So Beautiful", "{}: a Listening Guide", "I Practised {} for 100 Days",
         "{} from Scratch", "The Story behind {}"),
        7.0,
    ),
    "Science": Words(
        {
            "Space": ("Black Holes", "Neutron Stars", "the Moons of Jupiter", "Dark Matter", "Mars Rovers",
                      "Exoplanets", "Solar Storms"),
            "Biology": ("Slime Moulds", "the Immune System", "Octopus Brains", "Coral Reefs", "Photosynthesis",
                        "Tardigrades", "Migrating Birds"),
            "Mathematics": ("Prime Numbers", "Knot Theory", "Infinity", "the Game of Life", "Fourier Series",
                            "Random Walks", "Prisoner's Dilemmas"),
        },
        ("{} Explained with Paper and Scissors", "What We Still Do Not Know about {}", "The Strange History of {}",
         "{} in Ten Minutes", "Five Myths about {}", "How Scientists Study {}", "A Lecture on {}",
         "{} and You"),
        12.0,
    ),
    "Sport": Words(
        {
            "Football": ("the Offside Trap", "Free Kicks", "the 4-3-3", "Penalty Shoot-Outs", "Goalkeeping",
                         "Counter-Attacks", "Derby Day"),
            "Running": ("a First Marathon", "Hill Repeats", "Trail Running", "Interval Training", "the Perfect Stride",
                        "Night Ultras", "Recovery Weeks"),
            "Climbing": ("Bouldering Footwork", "Lead Falls", "Crack Climbing", "Finger Strength", "Alpine Starts",
                         "Speed Climbing", "Slab Technique"),
        },
        ("{}: Drills That Work", "The Greatest Moments of {}", "How Champions Train {}", "{} for Late Starters",
         "Inside {}: a Documentary", "{} Analysed Frame by Frame", "Ten Rules of {}",
         "A Season of {}"),
        8.0,
    ),
    "Travel": Words(
        {
            "Cities": ("Lisbon", "Kyoto", "Mexico City", "Istanbul", "Vienna", "Marrakesh", "Buenos Aires"),
            "Hiking": ("the Dolomites", "Patagonia", "the Scottish Highlands", "the Camino", "Annapurna",
                       "the Tatra Mountains", "the Faroe Islands"),
            "Train Journeys": ("the Night Train to Rome", "the Bergen Line", "the Trans-Siberian",
                               "the Glacier Express", "the Ghan", "the Blue Train", "the Coast Starlight"),
        },
        ("48 Hours in {}", "{} on Thirty Euros a Day", "Walking through {} at Dawn", "{}: What Nobody Tells You",
         "{} in Winter", "A Slow Film about {}", "{} with Children", "The Best Views of {}"),
        14.0,
    ),
    "Technology": Words(
        {
            "Programming": ("Python Decorators", "Rust Lifetimes", "SQL Window Functions", "Git Rebase", "Type Systems",
                            "Hash Tables", "Async Code"),
            "Hardware": ("Mechanical Keyboards", "Home Servers", "Mini PCs", "E-Ink Tablets",
                         "Noise-Cancelling Headphones", "Single-Board Computers", "3D Printers"),
            "Artificial Intelligence": ("Transformers", "Recommender Systems", "Speech Recognition", "Robot Arms",
                                        "Diffusion Models", "Chess Engines", "Self-Driving Cars"),
        },
        ("{} from the Ground Up", "{}: an Honest Review", "I Built a Project with {}", "{} Compared",
         "Stop Misusing {}", "The Future of {}", "{} in One Hour", "How {} Really Work"),
        16.0,
    ),
    "Home & Garden": Words(
        {
            "Woodworking": ("Dovetail Joints", "a Workbench", "Japanese Saws", "a Bookshelf", "Hand Planes",
                            "a Rocking Chair", "Spoon Carving"),
            "Gardening": ("Tomatoes", "a Balcony Garden", "Composting", "Raised Beds", "Roses", "Winter Vegetables",
                          "a Wildflower Meadow"),
            "Restoration": ("a 1950s Radio", "a Rusty Axe", "an Old Farmhouse", "a Pocket Watch", "a Vintage Bicycle",
                            "a Cast-Iron Pan", "a Typewriter"),
        },
        ("{}: Start to Finish", "{} with Hand Tools Only", "A Quiet Weekend with {}", "{} for Impatient People",
         "What I Learned from {}", "{} in a Tiny Space", "{}: Costs and Mistakes", "Before and After: {}"),
        13.0,
    ),
    "Film & Series": Words(
        {
            "Film Essays": ("Silent Comedy", "Film Noir", "Slow Cinema", "the Heist Film", "Practical Effects",
                            "Opening Shots", "the Perfect Villain"),
            "Short Films": ("The Last Ferry", "Paper Moon Motel", "Eleven Minutes", "A Room of Foxes", "Salt",
                            "The Understudy", "Snow on Line Nine"),
            "Horror": ("The Cellar Door", "Found Footage", "Haunted Houses", "Folk Horror", "The Hollow Choir",
                       "Midnight Static", "Body Horror"),
        },
        ("{}: Official Trailer", "{}: a Video Essay", "Why {} Still Works", "The Making of {}",
         "{} Explained", "{}: Full Film", "Ten Scenes That Define {}", "{} Uncut"),
        18.0,
        18,
    ),
    "Family": Words(
        {
            "Cartoons": ("Benny the Badger", "Captain Teapot", "The Moon Mice", "Pip and Pebble", "Rosa the Robot",
                         "The Sleepy Dragon", "Otto's Island"),
            "Crafts": ("Paper Dinosaurs", "Salt-Dough Stars", "Cardboard Castles", "Friendship Bracelets",
                       "Autumn Leaf Crowns", "Sock Puppets", "Finger Paint"),
            "Stories": ("The Brave Little Snail", "A Bear Who Could Not Sleep", "The Cloud Collector", "Grandpa's Boat",
                        "The Hedgehog's Scarf", "The Star Under the Bed", "Mila and the Whale"),
        },
        ("{}: Bedtime Edition", "{} Sing-Along", "{} and the Big Storm", "{} for Rainy Days", "{} Goes to Town",
         "{}: a Birthday Special", "Let's Make {}", "{}: All Episodes"),
        6.0,
    ),
}  # fmt: skip

CHANNEL_FIRST = ("Blue", "Little", "Northern", "Open", "Curious", "Slow", "Bright", "Second", "Honest", "Wild", "Paper",
                 "Golden")  # fmt: skip
CHANNEL_LAST = ("Kitchen", "Workshop", "Studio", "Lab", "Atlas", "Harbour", "Notebook", "Garage", "Collective",
                "Window", "Academy", "Post")  # fmt: skip

LANGUAGES = ("en", "es", "de", "fr", "pt", "ja")
LANGUAGE_SHARES = (0.56, 0.14, 0.10, 0.08, 0.07, 0.05)
COUNTRIES = {
    "en": ("US", "GB", "IN", "CA"),
    "es": ("ES", "MX", "AR"),
    "de": ("DE", "AT", "CH"),
    "fr": ("FR", "BE"),
    "pt": ("BR", "PT"),
    "ja": ("JP",),
}
DEVICES = ("phone", "desktop", "tv", "tablet")
DEVICE_SHARES = (0.58, 0.2, 0.15, 0.07)
COUNTRY_CODES = tuple(code for language in LANGUAGES for code in COUNTRIES[language])

SERIES = ("{} Diaries", "The {} Files", "{} Week by Week", "All about {}", "{} Season", "Adventures in {}")  # {}: topic

CHILDREN = tuple((main, child) for main, words in BANK.items() for child in words.topics)
"""Main and child category of each child category."""
MAIN_OF = tuple(list(BANK).index(main) for main, _ in CHILDREN)
"""The number of the main category of each child category."""
