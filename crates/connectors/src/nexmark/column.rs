//! One column of one table, for a stretch of events.
//!
//! Each column is a function of seed and event number alone and none needs another one, so that only
//! those are made that somebody reads.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "draws are below limits that fit, prices below 2^53"
)]

use std::sync::{Arc, LazyLock};

use arrow::array::{ArrayRef, Int64Array, TimestampMicrosecondArray};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use millrace_types::SqlType;

use super::event::{self, Draws, Table, below};
use super::text::Text;

const CATEGORY_FIRST: i64 = 10;
const CATEGORIES: i64 = 5;
const CHANNELS: i64 = 10_000;
const HOT_CHANNELS: [&str; 4] = ["Google", "Facebook", "Baidu", "Apple"];
const STATES: [&str; 6] = ["AZ", "CA", "ID", "OR", "WA", "WY"];
const CITIES: [&str; 10] = [
    "Phoenix",
    "Los Angeles",
    "San Francisco",
    "Boise",
    "Portland",
    "Bend",
    "Redmond",
    "Seattle",
    "Kent",
    "Cheyenne",
];
const FIRST_NAMES: [&str; 11] = [
    "Peter", "Paul", "Luke", "John", "Saul", "Vicky", "Kate", "Julie", "Sarah", "Deiter", "Walter",
];
const LAST_NAMES: [&str; 9] =
    ["Shultz", "Abrams", "Spencer", "White", "Bartels", "Walton", "Smith", "Jones", "Noris"];

/// What a draw decides; equal numbers in two columns of a table would tie them together.
mod draw {
    pub(super) const HOT: u64 = 1;
    pub(super) const OTHER: u64 = 2;
    pub(super) const PRICE: u64 = 3;
    pub(super) const CHANNEL: u64 = 4;
    pub(super) const LENGTH: u64 = 5;
    pub(super) const EXTRA: u64 = 6;
    pub(super) const NAME: u64 = 7;
    pub(super) const MORE: u64 = 8;
    pub(super) const CARD: u64 = 9;
    pub(super) const CITY: u64 = 10;
    pub(super) const STATE: u64 = 11;
    pub(super) const RESERVE: u64 = 12;
    pub(super) const EXPIRES: u64 = 13;
    pub(super) const CATEGORY: u64 = 14;
}

/// A column of one of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    PersonId,
    Name,
    Email,
    CreditCard,
    City,
    State,
    AuctionId,
    ItemName,
    Description,
    InitialBid,
    Reserve,
    Expires,
    Seller,
    Category,
    Auction,
    Bidder,
    Price,
    Channel,
    Url,
    DateTime,
    Extra,
}

use Column::{
    Auction, AuctionId, Bidder, Category, Channel, City, CreditCard, DateTime, Description, Email,
    Expires, Extra, InitialBid, ItemName, Name, PersonId, Price, Reserve, Seller, State, Url,
};

/// The columns of a table by name, in the order of the public generator.
pub(super) fn columns(table: Table) -> &'static [(&'static str, Column)] {
    match table {
        Table::Person => &[
            ("id", PersonId),
            ("name", Name),
            ("email_address", Email),
            ("credit_card", CreditCard),
            ("city", City),
            ("state", State),
            ("date_time", DateTime),
            ("extra", Extra),
        ],
        Table::Auction => &[
            ("id", AuctionId),
            ("item_name", ItemName),
            ("description", Description),
            ("initial_bid", InitialBid),
            ("reserve", Reserve),
            ("date_time", DateTime),
            ("expires", Expires),
            ("seller", Seller),
            ("category", Category),
            ("extra", Extra),
        ],
        Table::Bid => &[
            ("auction", Auction),
            ("bidder", Bidder),
            ("price", Price),
            ("channel", Channel),
            ("url", Url),
            ("date_time", DateTime),
            ("extra", Extra),
        ],
    }
}

impl Column {
    /// The types that it can have, the usual one first.
    pub(super) fn types(self) -> Vec<SqlType> {
        match self {
            DateTime | Expires => vec![SqlType::Timestamp, SqlType::TimestampTz],
            PersonId | AuctionId | InitialBid | Reserve | Seller | Category | Auction | Bidder
            | Price => vec![SqlType::BigInt],
            Name | Email | CreditCard | City | State | ItemName | Description | Channel | Url
            | Extra => vec![SqlType::Text],
        }
    }
}

/// Some events of one table.
pub(super) struct Stretch<'a> {
    pub(super) table: Table,
    pub(super) seed: u64,
    pub(super) gap_ns: i64,
    pub(super) events: &'a [i64],
}

impl Stretch<'_> {
    /// The values of a column.
    pub(super) fn column(
        &self,
        column: Column,
        data_type: &DataType,
    ) -> Result<ArrayRef, ArrowError> {
        Ok(match column {
            PersonId => self.numbers(|event, _| event::person_id(event)),
            AuctionId => self.numbers(|event, _| event::auction_id(event)),
            Auction => self.numbers(|event, draws| {
                event::bid_on(event, draws.bits(draw::HOT), draws.bits(draw::OTHER))
            }),
            Bidder => self.numbers(|event, draws| {
                event::bidder(event, draws.bits(draw::NAME), draws.bits(draw::MORE))
            }),
            Seller => self.numbers(|event, draws| {
                event::seller(event, draws.bits(draw::HOT), draws.bits(draw::OTHER))
            }),
            Price | InitialBid => self.numbers(|_, draws| price(draws.bits(draw::PRICE))),
            Reserve => self.numbers(|_, draws| {
                price(draws.bits(draw::PRICE)) + price(draws.bits(draw::RESERVE))
            }),
            Category => {
                self.numbers(|_, draws| CATEGORY_FIRST + draws.below(draw::CATEGORY, CATEGORIES))
            }
            DateTime => self.times(data_type, |event, _| event::time_us(event, self.gap_ns)),
            Expires => self.times(data_type, |event, draws| self.expires(event, draws)),
            Channel => self.texts(12, |text, _, draws| {
                text.push(urls().name(channel(draws)));
            })?,
            Url => self.texts(72, |text, _, draws| text.push(urls().url(channel(draws))))?,
            Extra => self.extra()?,
            Name => self.texts(14, |text, _, draws| {
                text.push(pick(&FIRST_NAMES, draws.bits(draw::NAME)));
                text.push(b" ");
                text.push(pick(&LAST_NAMES, draws.bits(draw::MORE)));
            })?,
            Email => self.texts(16, |text, _, draws| {
                let (bits, more) = (draws.bits(draw::LENGTH), draws.bits(draw::HOT));
                text.letters(bits, 3 + below(bits, 4));
                text.push(b"@");
                text.letters(more, 3 + below(more, 2));
                text.push(b".com");
            })?,
            CreditCard => self.texts(20, |text, _, draws| card(text, draws.bits(draw::CARD)))?,
            City => {
                self.texts(12, |text, _, draws| text.push(pick(&CITIES, draws.bits(draw::CITY))))?
            }
            State => {
                self.texts(2, |text, _, draws| text.push(pick(&STATES, draws.bits(draw::STATE))))?
            }
            ItemName => self.texts(12, |text, _, draws| {
                let bits = draws.bits(draw::NAME);
                text.letters(bits, 3 + below(bits, 17));
            })?,
            Description => self.texts(52, |text, _, draws| {
                let bits = draws.bits(draw::MORE);
                text.letters(bits, 3 + below(bits, 97));
            })?,
        })
    }

    fn numbers(&self, value: impl Fn(i64, Draws) -> i64) -> ArrayRef {
        Arc::new(Int64Array::from(self.values(value)))
    }

    fn times(&self, data_type: &DataType, value: impl Fn(i64, Draws) -> i64) -> ArrayRef {
        let times = TimestampMicrosecondArray::from(self.values(value));
        match data_type {
            DataType::Timestamp(_, Some(zone)) => Arc::new(times.with_timezone(zone.clone())),
            _ => Arc::new(times),
        }
    }

    #[inline]
    fn values(&self, value: impl Fn(i64, Draws) -> i64) -> Vec<i64> {
        self.events.iter().map(|event| value(*event, Draws::new(self.seed, *event))).collect()
    }

    fn texts(
        &self,
        length: usize,
        value: impl Fn(&mut Text, i64, Draws),
    ) -> Result<ArrayRef, ArrowError> {
        let mut text = Text::new(self.events.len(), length);
        for event in self.events {
            value(&mut text, *event, Draws::new(self.seed, *event));
            text.end();
        }
        text.finish()
    }

    /// An auction is open for as long as twice the open auctions take to begin, at most.
    fn expires(&self, event: i64, draws: Draws) -> i64 {
        let begun = event::time_us(event, self.gap_ns);
        let horizon = event::time_us(event + event::events_of_open_auctions(), self.gap_ns) - begun;
        let longest = horizon.saturating_mul(2).clamp(1, i64::from(i32::MAX));
        begun.saturating_add(1000 + draws.below(draw::EXPIRES, longest))
    }

    /// Fills a row up to the size that rows of its table have on average, a fifth more or less.
    fn extra(&self) -> Result<ArrayRef, ArrowError> {
        let average = match self.table {
            Table::Person => 200 - 77,
            Table::Auction => 500 - 111,
            Table::Bid => 100 - 32,
        };
        let (least, more) = (average - average / 5, average / 5 * 2);
        self.texts(usize::try_from(average).unwrap_or(0) + 8, |text, _, draws| {
            let bits = draws.bits(draw::EXTRA);
            text.letters(bits, least + below(bits, more));
        })
    }
}

fn pick(words: &[&'static str], bits: u64) -> &'static [u8] {
    let limit = i64::try_from(words.len()).unwrap_or(1);
    words.get(below(bits, limit) as usize).copied().unwrap_or_default().as_bytes()
}

/// Four groups of four digits.
fn card(text: &mut Text, bits: u64) {
    for group in 0..4 {
        let number = (bits >> (group * 16)) & 0xffff;
        let digits = [number / 1000 % 10, number / 100 % 10, number / 10 % 10, number % 10];
        if group > 0 {
            text.push(b" ");
        }
        text.push(&digits.map(|digit| b'0' + digit as u8));
    }
}

/// From 100 to 100 million, as often between 100 and 1,000 as between 10 and 100 million.
#[inline]
fn price(bits: u64) -> i64 {
    let powers = &*POWERS;
    let byte = |shift: u32| (bits >> shift) as usize & 255;
    let power = powers.coarse[byte(56)] * powers.fine[byte(48)] * powers.finest[byte(40)];
    (100.0 * power).round() as i64
}

/// Powers of a million: `coarse[i] * fine[j] * finest[k]` is `10^(6 x)` for the fraction `x` whose bytes
/// are `i`, `j` and `k`. From roots and products, which are the same on every machine; `powf` need not be.
struct Powers {
    coarse: [f64; 256],
    fine: [f64; 256],
    finest: [f64; 256],
}

static POWERS: LazyLock<Powers> = LazyLock::new(|| {
    let root = |times: usize| (0..times).fold(1e6_f64, |value, _| value.sqrt());
    let powers = |base: f64| {
        let mut value = 1.0;
        std::array::from_fn(|_| {
            let power = value;
            value *= base;
            power
        })
    };
    Powers { coarse: powers(root(8)), fine: powers(root(16)), finest: powers(root(24)) }
});

/// Three of four bids come through one of the hot channels, which stand behind the others.
#[inline]
fn channel(draws: Draws) -> usize {
    let bits = draws.bits(draw::CHANNEL);
    // The lower half, as the upper one decides which.
    let hot = below(bits << 32, 4) > 0;
    let number = match hot {
        true => CHANNELS + below(bits, 4),
        false => below(bits, CHANNELS),
    };
    number as usize
}

/// Name and address of each channel.
struct Urls {
    names: Vec<String>,
    urls: Vec<String>,
}

fn urls() -> &'static Urls {
    static URLS: LazyLock<Urls> = LazyLock::new(Urls::new);
    &URLS
}

impl Urls {
    fn new() -> Urls {
        let mut all = Urls { names: Vec::new(), urls: Vec::new() };
        for number in 0..CHANNELS {
            let mut url = base_url(number);
            if below(crate::random::mix(!number as u64), 10) > 0 {
                let reversed = i32::try_from(number).unwrap_or(0).reverse_bits().unsigned_abs();
                url.push_str(&format!("&channel_id={reversed}"));
            }
            all.names.push(format!("channel-{number}"));
            all.urls.push(url);
        }
        for (number, name) in (CHANNELS..).zip(HOT_CHANNELS) {
            all.names.push(name.to_owned());
            all.urls.push(base_url(number));
        }
        all
    }

    fn name(&self, channel: usize) -> &[u8] {
        self.names.get(channel).map_or(b"", String::as_bytes)
    }

    fn url(&self, channel: usize) -> &[u8] {
        self.urls.get(channel).map_or(b"", String::as_bytes)
    }
}

fn base_url(number: i64) -> String {
    let letter = |at: u64| {
        let bits = crate::random::mix(((number as u64) << 8) | at);
        char::from(b'a' + below(bits, 26) as u8)
    };
    let mut part = 0;
    let mut word = || {
        part += 1;
        (0..5).map(|at| letter(part * 5 + at)).collect::<String>()
    };
    format!("https://www.nexmark.com/{}/{}/{}/item.htm?query=1", word(), word(), word())
}
