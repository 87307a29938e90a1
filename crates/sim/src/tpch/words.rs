//! The lists that the values of TPC-H's columns are drawn from.

/// The regions, by key.
pub(super) const REGIONS: [&str; 5] = ["AFRICA", "AMERICA", "ASIA", "EUROPE", "MIDDLE EAST"];

/// The nations, by key, with their regions.
pub(super) const NATIONS: [(&str, usize); 25] = [
    ("ALGERIA", 0),
    ("ARGENTINA", 1),
    ("BRAZIL", 1),
    ("CANADA", 1),
    ("EGYPT", 4),
    ("ETHIOPIA", 0),
    ("FRANCE", 3),
    ("GERMANY", 3),
    ("INDIA", 2),
    ("INDONESIA", 2),
    ("IRAN", 4),
    ("IRAQ", 4),
    ("JAPAN", 2),
    ("JORDAN", 4),
    ("KENYA", 0),
    ("MOROCCO", 0),
    ("MOZAMBIQUE", 0),
    ("PERU", 1),
    ("CHINA", 2),
    ("ROMANIA", 3),
    ("SAUDI ARABIA", 4),
    ("VIETNAM", 2),
    ("RUSSIA", 3),
    ("UNITED KINGDOM", 3),
    ("UNITED STATES", 1),
];

/// Words of a part's name.
pub(super) const COLORS: [&str; 40] = [
    "almond",
    "antique",
    "aquamarine",
    "azure",
    "beige",
    "bisque",
    "black",
    "blue",
    "brown",
    "burlywood",
    "chocolate",
    "coral",
    "cream",
    "cyan",
    "dark",
    "dim",
    "firebrick",
    "forest",
    "frosted",
    "ghost",
    "goldenrod",
    "green",
    "honeydew",
    "hot",
    "indian",
    "ivory",
    "khaki",
    "lace",
    "lavender",
    "lemon",
    "linen",
    "magenta",
    "maroon",
    "misty",
    "navy",
    "olive",
    "orchid",
    "plum",
    "rose",
    "sienna",
];

/// The three words of a part's type.
pub(super) const TYPES: [&[&str]; 3] = [
    &["STANDARD", "SMALL", "MEDIUM", "LARGE", "ECONOMY", "PROMO"],
    &["ANODIZED", "BURNISHED", "PLATED", "POLISHED", "BRUSHED"],
    &["TIN", "NICKEL", "BRASS", "STEEL", "COPPER"],
];

/// The two words of a container.
pub(super) const CONTAINERS: [&[&str]; 2] = [
    &["SM", "LG", "MED", "JUMBO", "WRAP"],
    &["CASE", "BOX", "BAG", "JAR", "PKG", "PACK", "CAN", "DRUM"],
];

/// Market segments.
pub(super) const SEGMENTS: [&str; 5] =
    ["AUTOMOBILE", "BUILDING", "FURNITURE", "MACHINERY", "HOUSEHOLD"];

/// Priorities of orders.
pub(super) const PRIORITIES: [&str; 5] =
    ["1-URGENT", "2-HIGH", "3-MEDIUM", "4-NOT SPECIFIED", "5-LOW"];

/// Instructions for shipping.
pub(super) const INSTRUCTIONS: [&str; 4] =
    ["DELIVER IN PERSON", "COLLECT COD", "NONE", "TAKE BACK RETURN"];

/// Modes of shipping.
pub(super) const MODES: [&str; 7] = ["REG AIR", "AIR", "RAIL", "SHIP", "TRUCK", "MAIL", "FOB"];

/// Words of comments and addresses; two of them are looked for.
pub(super) const WORDS: [&str; 24] = [
    "above",
    "accounts",
    "bold",
    "carefully",
    "deposits",
    "even",
    "express",
    "final",
    "furiously",
    "ideas",
    "ironic",
    "packages",
    "pending",
    "platelets",
    "quickly",
    "regular",
    "requests",
    "silent",
    "sleep",
    "slyly",
    "special",
    "theodolites",
    "unusual",
    "wake",
];
