//! The rows of TPC-H's tables, as lines of CSV.

use std::fmt::Write;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::words::{
    COLORS, CONTAINERS, INSTRUCTIONS, MODES, NATIONS, PRIORITIES, REGIONS, SEGMENTS, TYPES, WORDS,
};

/// Orders of one bunch.
const BUNCH: u32 = 4096;
/// Days from 1992-01-01 to the last day on which something is ordered, 1998-08-02.
const LAST_ORDER: u32 = 2405;
/// Days from 1992-01-01 to 1995-06-17: what was received by then may have been returned.
const TODAY: u32 = 1263;

/// What can be made.
#[derive(Clone, Copy, Debug)]
pub struct Data {
    scale: f64,
    seed: u64,
}

/// What the random numbers are for; each bunch of each has numbers of its own.
#[derive(Clone, Copy)]
enum Of {
    Suppliers,
    Customers,
    Parts,
    PartSuppliers,
    Orders,
    NewOrders,
}

impl Data {
    /// Data of a scale: 1 is 6 M lines of 1.5 M orders.
    pub fn new(scale: f64, seed: u64) -> Data {
        Data { scale, seed }
    }

    /// Its scale.
    pub fn scale(&self) -> f64 {
        self.scale
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts of rows")]
    fn count(&self, of_scale_1: f64) -> u32 {
        (of_scale_1 * self.scale).round().max(1.0) as u32
    }

    fn suppliers_count(&self) -> u32 {
        self.count(10_000.0)
    }

    fn parts_count(&self) -> u32 {
        self.count(200_000.0)
    }

    fn customers_count(&self) -> u32 {
        self.count(150_000.0)
    }

    fn orders_count(&self) -> u32 {
        self.count(1_500_000.0)
    }

    fn random(&self, of: Of, bunch: u32) -> StdRng {
        StdRng::seed_from_u64(self.seed ^ (of as u64) << 32 ^ u64::from(bunch))
    }

    /// `region`
    pub fn regions(&self) -> String {
        let each = REGIONS.iter().enumerate();
        each.map(|(key, name)| format!("{key},{name},none\n")).collect()
    }

    /// `nation`
    pub fn nations(&self) -> String {
        let each = NATIONS.iter().enumerate();
        each.map(|(key, (name, region))| format!("{key},{name},{region},none\n")).collect()
    }

    /// `supplier`
    pub fn suppliers(&self) -> String {
        let mut random = self.random(Of::Suppliers, 0);
        let each = (1..=self.suppliers_count()).map(|key| {
            let nation = random.random_range(0..25);
            let (address, phone) = (text(&mut random, 2), phone(&mut random, nation));
            let (balance, mut comment) = (balance(&mut random), text(&mut random, 5));
            // Five of ten thousand have complaints, and at least one has.
            if key % 2000 == 7 {
                comment = format!("{comment} Customer {} Complaints", text(&mut random, 1));
            }
            format!("{key},Supplier#{key:09},{address},{nation},{phone},{balance},{comment}\n")
        });
        each.collect()
    }

    /// `customer`
    pub fn customers(&self) -> String {
        let mut random = self.random(Of::Customers, 0);
        let each = (1..=self.customers_count()).map(|key| {
            let nation = random.random_range(0..25);
            let (address, phone) = (text(&mut random, 2), phone(&mut random, nation));
            let (balance, segment) = (balance(&mut random), one(&mut random, &SEGMENTS));
            let comment = text(&mut random, 6);
            format!(
                "{key},Customer#{key:09},{address},{nation},{phone},{balance},{segment},{comment}\n"
            )
        });
        each.collect()
    }

    /// `part`
    pub fn parts(&self) -> String {
        let mut random = self.random(Of::Parts, 0);
        let each = (1..=self.parts_count()).map(|key| {
            let name: Vec<&str> = (0..5).map(|_| one(&mut random, &COLORS)).collect();
            let maker = random.random_range(1..=5);
            let brand = maker * 10 + random.random_range(1..=5);
            let kind = TYPES.map(|words| one(&mut random, words)).join(" ");
            let container = CONTAINERS.map(|words| one(&mut random, words)).join(" ");
            let (size, price) = (random.random_range(1..=50), cents(retail_price(key)));
            format!(
                "{key},{},Manufacturer#{maker},Brand#{brand},{kind},{size},{container},{price},none\n",
                name.join(" ")
            )
        });
        each.collect()
    }

    /// The supplier `number` (0 to 3) of a part.
    fn supplier_of(&self, part: u32, number: u32) -> u32 {
        let all = self.suppliers_count();
        (part + number * (all / 4 + (part - 1) / all)) % all + 1
    }

    /// `partsupp`
    pub fn part_suppliers(&self) -> String {
        let mut random = self.random(Of::PartSuppliers, 0);
        let mut csv = String::new();
        for part in 1..=self.parts_count() {
            let mut suppliers: Vec<u32> = (0..4).map(|n| self.supplier_of(part, n)).collect();
            suppliers.sort_unstable();
            suppliers.dedup();
            for supplier in suppliers {
                let (quantity, cost) =
                    (random.random_range(1..=9999), cents(random.random_range(100..=100_000)));
                push(&mut csv, format_args!("{part},{supplier},{quantity},{cost},none\n"));
            }
        }
        csv
    }

    /// Bunches of orders that are loaded.
    pub fn bunches(&self) -> u32 {
        self.orders_count().div_ceil(BUNCH)
    }

    /// `orders` and `lineitem` of one bunch.
    pub fn bunch(&self, bunch: u32) -> (String, String) {
        let mut random = self.random(Of::Orders, bunch);
        let numbers = bunch * BUNCH..((bunch + 1) * BUNCH).min(self.orders_count());
        self.orders(&mut random, numbers.map(loaded_key))
    }

    /// How many orders come, and how many go, in all refreshes: a thousandth of all, at least 30.
    fn refreshed(&self) -> u32 {
        self.count(1500.0).max(30)
    }

    /// New orders and their lines: part `part` of `parts`.
    pub fn new_orders(&self, part: u32, parts: u32) -> (String, String) {
        let mut random = self.random(Of::NewOrders, part);
        let keys = (part..self.refreshed()).step_by(parts.max(1) as usize).map(new_key);
        self.orders(&mut random, keys)
    }

    /// Keys of loaded orders that go: part `part` of `parts`.
    pub fn old_orders(&self, part: u32, parts: u32) -> Vec<u32> {
        let all = self.orders_count();
        let apart = (all / self.refreshed()).max(1);
        let numbers = (part..self.refreshed()).step_by(parts.max(1) as usize);
        numbers.map(|number| loaded_key(number * apart % all)).collect()
    }

    fn orders(&self, random: &mut StdRng, keys: impl Iterator<Item = u32>) -> (String, String) {
        let (mut orders, mut lines) = (String::new(), String::new());
        for key in keys {
            self.order(random, key, &mut orders, &mut lines);
        }
        (orders, lines)
    }

    fn order(&self, random: &mut StdRng, key: u32, orders: &mut String, lines: &mut String) {
        // A third of the customers never orders.
        let mut customer = random.random_range(1..=self.customers_count());
        if customer % 3 == 0 {
            customer = if customer > 1 { customer - 1 } else { customer };
        }
        let ordered = random.random_range(0..=LAST_ORDER);
        let count = random.random_range(1..=7);
        let (mut total, mut shipped) = (0, 0);
        for number in 1..=count {
            let line = self.line(random, (key, number, ordered), lines);
            total += line.0;
            shipped += u32::from(line.1);
        }
        let status = match shipped {
            0 => "O",
            all if all == count => "F",
            _ => "P",
        };
        let (priority, clerk) = (one(random, &PRIORITIES), self.count(1000.0));
        let clerk = random.random_range(1..=clerk);
        let (total, day, comment) = (cents(total), date(ordered), text(random, 6));
        push(
            orders,
            format_args!(
                "{key},{customer},{status},{total},{day},{priority},Clerk#{clerk:09},0,{comment}\n"
            ),
        );
    }

    /// One line; gives its price with tax and discount, and whether it has been shipped.
    fn line(
        &self,
        random: &mut StdRng,
        (order, number, ordered): (u32, u32, u32),
        lines: &mut String,
    ) -> (u64, bool) {
        let part = random.random_range(1..=self.parts_count());
        let supplier = self.supplier_of(part, random.random_range(0..4));
        let quantity = random.random_range(1..=50);
        let price = quantity * retail_price(part);
        let (discount, tax) = (random.random_range(0..=10), random.random_range(0..=8));
        let ship = ordered + random.random_range(1..=121);
        let commit = ordered + random.random_range(30..=90);
        let receipt = ship + random.random_range(1..=30);
        let returned = match receipt <= TODAY {
            true => one(random, &["R", "A"]),
            false => "N",
        };
        let status = if ship > TODAY { "O" } else { "F" };
        let (instruction, mode) = (one(random, &INSTRUCTIONS), one(random, &MODES));
        let comment = text(random, 3);
        let (ship_day, commit, receipt) = (date(ship), date(commit), date(receipt));
        let shown = cents(price);
        push(
            lines,
            format_args!(
                "{order},{part},{supplier},{number},{quantity},{shown},0.{discount:02},0.{tax:02},\
                 {returned},{status},{ship_day},{commit},{receipt},{instruction},{mode},{comment}\n"
            ),
        );
        (price * (100 - discount) * (100 + tax) / 10_000, ship <= TODAY)
    }
}

/// Of each 32 keys the first 8 are used.
fn loaded_key(number: u32) -> u32 {
    number / 8 * 32 + number % 8 + 1
}

/// And the next 8 by the refreshes.
fn new_key(number: u32) -> u32 {
    loaded_key(number) + 8
}

/// Cents.
fn retail_price(part: u32) -> u64 {
    u64::from(90_000 + part / 10 % 20_001 + 100 * (part % 1000))
}

fn cents(amount: u64) -> String {
    format!("{}.{:02}", amount / 100, amount % 100)
}

fn balance(random: &mut StdRng) -> String {
    let cents: i64 = random.random_range(-99_999..=999_999);
    let sign = if cents < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", cents.abs() / 100, cents.abs() % 100)
}

fn phone(random: &mut StdRng, nation: u32) -> String {
    let (a, b) = (random.random_range(100..1000), random.random_range(100..1000));
    format!("{}-{a}-{b}-{}", nation + 10, random.random_range(1000..10_000))
}

fn one<'a>(random: &mut StdRng, words: &[&'a str]) -> &'a str {
    words[random.random_range(0..words.len())]
}

fn text(random: &mut StdRng, words: usize) -> String {
    let words: Vec<&str> = (0..words).map(|_| one(random, &WORDS)).collect();
    words.join(" ")
}

/// The day so many days after 1992-01-01.
fn date(days: u32) -> String {
    let (mut year, mut left) = (1992, days);
    loop {
        let leap = year % 4 == 0;
        let length = if leap { 366 } else { 365 };
        if left < length {
            let february = if leap { 29 } else { 28 };
            let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
            let mut month = 1;
            for length in months {
                if left < length {
                    break;
                }
                left -= length;
                month += 1;
            }
            return format!("{year}-{month:02}-{:02}", left + 1);
        }
        left -= length;
        year += 1;
    }
}

fn push(text: &mut String, line: std::fmt::Arguments<'_>) {
    text.write_fmt(line).expect("a String takes it");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_the_dates_of_the_calendar() {
        let dates = [(0, "1992-01-01"), (59, "1992-02-29"), (366, "1993-01-01")];
        dates.into_iter().for_each(|(days, wanted)| assert_eq!(date(days), wanted));
        assert_eq!((date(TODAY).as_str(), date(LAST_ORDER).as_str()), ("1995-06-17", "1998-08-02"));
    }

    #[test]
    fn rows_are_as_many_as_the_scale_says_and_always_the_same() {
        let data = Data::new(0.01, 1);
        assert_eq!(data.part_suppliers().lines().count(), 8000);
        let orders: usize = (0..data.bunches()).map(|n| data.bunch(n).0.lines().count()).sum();
        let lines: usize = (0..data.bunches()).map(|n| data.bunch(n).1.lines().count()).sum();
        assert_eq!(orders, 15_000);
        assert!((58_000..62_000).contains(&lines), "{lines}");
        assert_eq!(data.bunch(2), data.bunch(2));
        assert_ne!(data.bunch(2), Data::new(0.01, 2).bunch(2));
        let gone = data.old_orders(1, 3);
        assert_eq!(gone.len(), 10);
        assert_eq!(data.new_orders(1, 3).0.lines().count(), 10);
    }
}
