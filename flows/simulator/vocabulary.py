"""The word lists of the simulated world: everybody in them is invented, and nobody is meant."""

from typing import Final


def _split(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


FIRST_NAMES: Final = _split(
    "Adaeze, Aino, Alasdair, Amira, Anselm, Asha, Bastien, Beatrix, Caio, Chidi, Corentin, Dagny, Daria, Dmitar, Eero, "
    "Elodie, Emeka, Esperanza, Farid, Fenna, Florin, Gaia, Giorgi, Hadley, Haruki, Ilse, Imani, Ingrid, Ivo, Jarek, "
    "Jocasta, Kaito, Katya, Kwame, Lavinia, Leocadia, Lior, Ludmila, Mairead, Marisol, Mateus, Mei, Nadir, Nils, "
    "Noor, Odalys, Olu, Oriel, Paloma, Petra, Priya, Quentin, Rafi, Rosalind, Saoirse, Sefa, Soren, Tamsin, Thandi"
)
LAST_NAMES: Final = _split(
    "Abernathe, Achterberg, Adeyemo, Almqvist, Arkwold, Bellweather, Brannagh, Brindlemoor, Calloway, Castellane, "
    "Dragomirov, Drummer, Eastlake, Ekwueme, Fairbourne, Farrowby, Galanis, Greywater, Halloran-Voss, Hawthorne-Ito, "
    "Ilvesoja, Jankauskas, Kaelin, Karvonen, Kestrel, Lindqvard, Lockridge, Lumière, Marchetta, Montclair-Diaz, "
    "Mwangale, Nakahara, Northcote, O’Dunne, Okonjo-Bright, Oyelaran, Pettibone, Quillfeather, Ravenshaw, Rosenqvist, "
    "Saltmarsh, Santángel, Sørlund, Stavridou, Takemori, Thistlewood, Tremblant, Underhay, Valdemarin, Vasquerra, "
    "Wetherby, Winterbourne, Xanthakis, Yarrowdale, Zabrisky, Zielonka, Åkerhielm, Österman, Dunmarrow"
)
CITIES: Final = _split(
    "Adelaide, Ankara, Antwerp, Atlanta, Auckland, Austin, Bergen, Bilbao, Boston, Bristol, Busan, Calgary, Cardiff, "
    "Chicago, Cork, Dakar, Dallas, Denver, Dublin, Durban, Fukuoka, Gdańsk, Geneva, Hamburg, Helsinki, Houston, "
    "Istanbul, Kraków, Lagos, Leeds, Lima, Lisbon, London, Lyon, Madrid, Manila, Memphis, Miami, Milan, Montréal, "
    "Nairobi, Nashville, New York, Oakland, Osaka, Oslo, Ottawa, Palermo, Perth, Phoenix, Porto, Portland, Quito, "
    "Riga, Rotterdam, San Diego, Santiago, São Paulo, Seattle, Seoul, Seville, Tallinn, Tampa, Toronto, Turin, "
    "Utrecht, Valencia, Vilnius, Warsaw, Wellington, Zagreb"
)
MASCOTS: Final = _split(
    "Aurochs, Badgers, Comets, Cranes, Drifters, Embers, Foxes, Gannets, Harriers, Herons, Ibexes, Kestrels, Lanterns, "
    "Lynxes, Mariners, Merlins, Monarchs, Nomads, Otters, Pilots, Quarrymen, Rooks, Sentinels, Stags, Steamers, "
    "Terriers, Thunder, Voyagers, Weavers"
)
LEAGUES: Final = _split(
    "Northern Basketball League, Continental Hockey, Harbour Football, Premier Rugby, Coastal Baseball, Grand Cricket, "
    "Alpine Cycling, Metro Volleyball, Pacific Football, Union Handball, Midland Hockey, Eastern Basketball"
)
LANDS: Final = _split(
    "Aldermark, Belvaria, Carthenia, Dornia, Estmere, Feldora, Galdova, Hestria, Ilmenau Republic, Jorvania, Kalmeria, "
    "Lorvane, Mardonia, North Arbor, Ostrava Union, Pelland, Quendor, Rostania, South Arbor, Tavoria, Ulmark, "
    "Valdoria, West Ferris, Xandria, Ystria, Zemlin, New Caledon, Port Amity, Saint Orsola, Thessaria"
)
OFFICES: Final = ("President", "Prime Minister", "Governor", "Chancellor", "Speaker", "Mayor")
PARTIES: Final = _split(
    "Civic Alliance, Farmers’ Union, Green Bloc, Labour Front, Liberal Centre, National Renewal, People’s Democrats, "
    "Reform List, Social Compact, United Conservatives, Workers’ League"
)
BILLS: Final = _split(
    "Clean Harbours, Data Fairness, Digital Markets, Energy Security, Fair Housing, Farm Support, Fisheries, "
    "Open Government, Pension Reform, Public Health, Rail Renewal, School Meals, Small Business, Water Rights"
)
AWARDS: Final = _split(
    "Best Director at the Silver Lantern Awards, Best Actress at the Silver Lantern Awards, Album of the Year at the "
    "Echo Prize, Song of the Year at the Echo Prize, the Halvorsen Prize for Fiction, New Artist at the Aria Gala, "
    "Best Comedy at the Tinsel Awards, the Golden Quill for Poetry"
)
FILMS: Final = _split(
    "The Lighthouse Engine, Midnight Cartographer, Paper Moons, Iron Meridian, The Last Orchard, Velvet Static, "
    "Captain Zero, A Winter of Wolves, Saltwater Kings, Neon Pilgrim, The Quiet Machine, Hollow Crown City"
)
ROCKETS: Final = _split("Albatross, Borealis, Condor, Dauntless, Firebird, Horizon, Meridian, Peregrine, Tempest")
COMPANIES: Final = _split(
    "Acorn Robotics, Altima Foods, Bluefin Air, Brightwater Energy, Cobalt Systems, Copperline Rail, Deepwell Mining, "
    "Evergrid, Fathom AI, Gladstone Pharma, Harbinger Motors, Helix & Ward, Ironbark Steel, Juniper Retail, Kestrel "
    "Semiconductors, Lumen Analytics, Mosaic Media, Northgate Bank, Orbitra, Parallax Labs, Quanta Health, Redwood "
    "Logistics, Solace Insurance, Tidewater Shipping, Umbra Games, Vantage Cloud, Westfold Paper, Yonder Travel, Zephyr"
)
COINS: Final = _split(
    "Bitcoin, Ethereum, Solana, XRP, Dogecoin, Cardano, Avalanche, Litecoin, Polkadot, Chainlink, Stellar, Cosmos, "
    "Monero, Tezos, Algorand, Hedera, Filecoin, Near, Aptos, Sui, Toncoin, Arbitrum, Optimism"
)

HOSTILE: Final = (
    "<script>alert('QUESTION')</script>",
    'QUESTION <img src=x onerror="document.title=1">',
    "QUESTION <b>bold</b> &amp; <a href='javascript:alert(1)'>link</a>",
    "</td></tr></table><h1>QUESTION</h1>",
    "\"QUESTION\" 'quoted' `ticked` \\ backslashed \\n \\u0041",
    "QUESTION $x^2$ and $$\\frac{1}{0}$$ and \\(y\\)",
    "![QUESTION](http://127.0.0.1:9/pixel.png) [link](javascript:alert(1)) **bold** | a | b |",
    "\u202eQUESTION\u202c turned \u2066round\u2069",
    "QUES\u200bTION\u200c with\ufeff zero\u2060 width: QUESTION",
    "QUESTION \U0001f469\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 \U0001f3f3\ufe0f\u200d\U0001f308 e\u0301",
    "QUESTION\nsecond line\r\nthird\tline",
    "QUESTION " + "and so on, at length, " * 60,
    '=HYPERLINK("http://127.0.0.1:9","QUESTION")',
    "+1-1@SUM(A1:A9) QUESTION",
    "-2+3 QUESTION; cmd|' /C calc'!A0",
    "QUESTION'; DROP TABLE markets; --",
    "{{QUESTION}} {{7*7}} ${7*7} {% raw %} <%= 7*7 %>",
    "[red]QUESTION[/red] [link=http://127.0.0.1:9]x[/link] [/]",
    "\x1b[31mQUESTION\x1b[0m \x07",
    "%s %d %n {0} {title} QUESTION 100%",
)
"""Titles as a venue must not trust them: each is valid text, and each means something to some reader of it."""
