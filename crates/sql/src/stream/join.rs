//! Joins: a projection of each input to what the join needs, then the node.
//!
//! Each input keeps its key, so that the rows of a join have one: the left key and the right key. A
//! semi or anti join asks of its right input only whether there is a row: that input is reduced to
//! the distinct values of the columns that decide, so that a change costs the same however many
//! rows there are of each.
//!
//! `NOT IN` over a subquery that may hold NULLs is two anti joins: one on equality, one with at most
//! two rows that say whether the subquery has a NULL, and whether it has anything else.
//!
//! Invariants: 1. the columns of both inputs have different names together. 2. a row of a join is
//! told by its key even where it is padded with NULLs (`presence`). 3. a watermark passes a join only
//! on columns that bound every row: those that are equal or near each other, and never padded.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinType, NullEquality, ScalarValue};
use datafusion::functions::core::expr_fn::coalesce;
use datafusion::logical_expr::logical_plan::Join as LogicalJoin;
use datafusion::logical_expr::utils::{conjunction, split_conjunction};
use datafusion::logical_expr::{Expr, LogicalPlan, lit};
use millrace_plan::{Aggregate, Join, JoinKind, JoinPair, Meta, Node, Step, Watermark};
use millrace_types::{OFFSET_COLUMN, PARTITION_COLUMN, Report};

use super::interval::Cleaning;
use super::lookup;
use super::refuse::{self, failure, internal, not_yet};
use super::relation::{Carry, Columns, Relation, canonical, column, step, unique, with_type};
use super::root::meta_mut;
use super::translate::Planner;

/// True in the row for the NULLs of a list that nothing may be in.
const UNKNOWN: &str = "unknown";
/// When a row of a full join is final.
const END: &str = "_key_final";
/// Says in a full join that a row has a left side.
const PRESENCE: &str = "_key_left";

/// What a join asks, in the logical plan.
struct Asked {
    kind: JoinKind,
    on: Vec<(Expr, Expr)>,
    conditions: Vec<Expr>,
    null_equal: bool,
    /// The right input is looked up as it is at each left row's time.
    lookup: bool,
}

impl Asked {
    /// An anti join of all rows.
    fn anti() -> Asked {
        let (on, conditions) = Default::default();
        Asked { kind: JoinKind::Anti, on, conditions, null_equal: false, lookup: false }
    }
}

/// An input that is ready to be joined.
pub(super) struct Input {
    pub(super) node: Node,
    /// Where the logical columns stand; those that nobody asks for are None.
    pub(super) places: Vec<Option<usize>>,
    /// Where the columns of the join key stand.
    pub(super) keys: Vec<usize>,
    /// Where the event time of a row stands, if it goes along.
    event_time: Option<usize>,
}

impl Planner<'_> {
    pub(super) fn join(&self, join: &LogicalJoin) -> Result<Relation, Report> {
        let left = self.copied(self.translate(&join.left)?)?;
        let looked_up = lookup::table(&join.right)?;
        let right = self.translate(looked_up.as_ref().unwrap_or(&join.right))?;
        let right = self.copied(right)?;
        let left = (left, join.left.schema().as_ref());
        let right = (right, join.right.schema().as_ref());
        if join.join_type == JoinType::LeftMark {
            return self.marked(join, left, right);
        }
        let mut asked = self.asked(join)?;
        if looked_up.is_some() {
            lookup::check(asked.kind, left.0.node.meta())?;
            asked.lookup = true;
        }
        match join.null_aware {
            true => self.not_in(&asked, left, right),
            false => self.joined(asked, left, right, &join.schema),
        }
    }

    /// `a NOT IN (SELECT b ...)`: no `b` equals `a`, none is NULL, and there is none if `a` is NULL.
    fn not_in(
        &self,
        asked: &Asked,
        (left, left_schema): (Relation, &DFSchema),
        (right, right_schema): (Relation, &DFSchema),
    ) -> Result<Relation, Report> {
        let [(one, other)] = asked.on.as_slice() else { return Err(not_in()) };
        if !asked.conditions.is_empty() {
            return Err(not_in());
        }
        let flag = Field::new(UNKNOWN, DataType::Boolean, false);
        let flags = DFSchema::try_from(Schema::new(vec![flag])).map_err(failure)?;
        let columns = vec![right.inline(other, right_schema)?.is_null()];
        let unknown = Relation { columns, ..right.clone() };
        let equal = Asked { on: asked.on.clone(), ..Asked::anti() };
        let kept = self.joined(equal, (left, left_schema), (right, right_schema), left_schema)?;
        let condition = Expr::Column(Column::new_unqualified(UNKNOWN)).or(one.clone().is_null());
        let vague = Asked { conditions: vec![condition], ..Asked::anti() };
        self.joined(vague, (kept, left_schema), (unknown, &flags), left_schema)
    }

    /// All rows of the left input, each with whether there is a row for it: those that have one
    /// beside those that have none.
    fn marked(
        &self,
        join: &LogicalJoin,
        (left, left_schema): (Relation, &DFSchema),
        (right, right_schema): (Relation, &DFSchema),
    ) -> Result<Relation, Report> {
        let mut branches = Vec::with_capacity(2);
        for (join_type, mark) in [(JoinType::LeftSemi, true), (JoinType::LeftAnti, false)] {
            let asked = self.asked(&LogicalJoin { join_type, ..join.clone() })?;
            let (left, right) = (left.clone(), right.clone());
            let left = (left, left_schema);
            let mut half = self.joined(asked, left, (right, right_schema), left_schema)?;
            half.columns.push(lit(mark));
            branches.push(half);
        }
        self.union_of(branches, &join.schema)
    }

    fn joined(
        &self,
        mut asked: Asked,
        (left, left_schema): (Relation, &DFSchema),
        (right, right_schema): (Relation, &DFSchema),
        output: &DFSchema,
    ) -> Result<Relation, Report> {
        let append_only = left.node.meta().append_only && right.node.meta().append_only;
        self.comparable(&mut asked, (&left, left_schema), (&right, right_schema))?;
        let (on_left, on_right): (Vec<Expr>, Vec<Expr>) = asked.on.iter().cloned().unzip();
        let carry = if asked.lookup { Carry::KeyAndTime } else { Carry::Key };
        let mut left = self.input(left, left_schema, &on_left, carry)?;
        let mut right = match asked.kind.gives_pairs() {
            true => self.input(right, right_schema, &on_right, Carry::Key)?,
            false => self.deciding(right, right_schema, &on_right, &asked.conditions)?,
        };
        let keys = left.keys.iter().zip(&right.keys);
        let null_equal = asked.null_equal;
        let on = keys.map(|(left, right)| JoinPair { left: *left, right: *right, null_equal });
        let on: Vec<JoinPair> = on.collect();
        let both = left_schema.join(right_schema).map_err(failure)?;
        let cleaning = match asked.lookup {
            true => None,
            false => self.cleaned(&asked, &mut left, &mut right, (&on, &both))?,
        };
        let mut taken = BTreeSet::new();
        let by_key = asked.lookup && lookup::finds_one(right.node.meta(), &on);
        rename(&mut left.node, &mut taken, by_key)?;
        rename(&mut right.node, &mut taken, false)?;
        if asked.kind == JoinKind::Full {
            left.node = presence(left.node, &right.node, &mut taken)?;
        }
        let mut meta = meta(&asked, &on, (&left.node, &right.node), append_only);
        if asked.lookup {
            lookup::promise(&mut meta, left.node.meta(), by_key);
        }
        let event_time = left.event_time.filter(|_| by_key);
        let width = left.node.meta().schema.fields().len();
        let ends = cleaning.as_ref().filter(|_| asked.kind == JoinKind::Full);
        let ends = ends.map(|cleaning| cleaning.pairs.clone());
        let clean = cleaning.map(|cleaning| promised(cleaning, &mut meta, asked.kind, width));
        let (filter, clean) = (None, clean.unwrap_or_default());
        let (kind, lookup) = (asked.kind, asked.lookup);
        let (left_node, right_node) = (left.node, right.node);
        let mut node =
            Join { left: left_node, right: right_node, kind, on, filter, clean, lookup, meta };
        let pairs = node.pair_schema();
        let places = shifted(&left.places, &right.places, width);
        if let Some(condition) = conjunction(asked.conditions) {
            let condition = over(&node.left, &pairs, &both, &places).inline(&condition, &both)?;
            node.filter = Some(self.physical(condition, &pairs)?);
        }
        let node = match ends {
            Some(ends) if self.options.wants_final_rows() => self.with_end(node, ends, width)?,
            _ => Node::Join(Box::new(node)),
        };
        let schema = Arc::clone(&node.meta().schema);
        let columns = output.fields().iter().zip(&places).map(|(field, place)| {
            let place = place.ok_or_else(|| internal("a join has lost a column"))?;
            let stored = schema.field(place).data_type();
            Ok(with_type(column(&schema, place), stored, field.data_type()))
        });
        let columns = columns.collect::<Result<_, Report>>()?;
        Ok(Relation { node, columns, event_time, hop: None })
    }

    /// A full join whose rows say when they are final: no column of either input bounds them all.
    fn with_end(&self, join: Join, ends: [Watermark; 2], width: usize) -> Result<Node, Report> {
        let meta = join.meta.clone();
        let [left, right] = ends;
        let sources = left.sources.clone();
        let end = |at: usize, shift: i64| {
            let later = lit(ScalarValue::DurationMicrosecond(Some(shift)));
            column(&meta.schema, at) + later
        };
        let (one, other) = (end(left.column, left.shift), end(width + right.column, right.shift));
        let end = self.physical(coalesce(vec![one, other]), &meta.schema)?;
        let data_type = end.0.data_type(&meta.schema).map_err(failure)?;
        let mut fields: Vec<Field> =
            meta.schema.fields().iter().map(|f| f.as_ref().clone()).collect();
        let all = (0..fields.len()).map(|at| self.physical(column(&meta.schema, at), &meta.schema));
        let mut expressions = all.collect::<Result<Vec<_>, _>>()?;
        expressions.push(end);
        fields.push(Field::new(END, data_type, true));
        let schema = Arc::new(Schema::new(unique(fields)));
        let bound = Watermark { column: expressions.len() - 1, shift: 0, sources };
        let meta = Meta { schema: Arc::clone(&schema), watermarks: vec![bound], ..meta };
        Ok(step(Node::Join(Box::new(join)), Step::Project { expressions, schema }, meta))
    }

    /// When the rows of the inputs are done; rows that are late for that are taken out of them.
    fn cleaned(
        &self,
        asked: &Asked,
        left: &mut Input,
        right: &mut Input,
        (on, both): (&[JoinPair], &DFSchema),
    ) -> Result<Option<Cleaning>, Report> {
        let (one, other) = (left.node.meta().clone(), right.node.meta().clone());
        let width = one.schema.fields().len();
        // Under names that both inputs together have once each.
        let fields = one.schema.fields().iter().chain(other.schema.fields()).enumerate();
        let named = fields.map(|(at, field)| field.as_ref().clone().with_name(format!("c{at}")));
        let pairs = Arc::new(Schema::new(named.collect::<Vec<_>>()));
        let places = shifted(&left.places, &right.places, width);
        let over = over(&left.node, &pairs, both, &places);
        let conditions = asked.conditions.iter().map(|condition| over.inline(condition, both));
        let conditions = conditions.collect::<Result<Vec<_>, _>>()?;
        let Some(cleaning) = self.cleaning((&one, &other), on, &conditions, &pairs) else {
            return Ok(None);
        };
        for (side, input) in [left, right].into_iter().enumerate() {
            input.node = self.punctual(input.node.clone(), &cleaning.own[side])?;
        }
        Ok(Some(cleaning))
    }

    fn asked(&self, join: &LogicalJoin) -> Result<Asked, Report> {
        let kind = match join.join_type {
            JoinType::Inner => JoinKind::Inner,
            JoinType::Left => JoinKind::Left,
            JoinType::Right => JoinKind::Right,
            JoinType::Full => JoinKind::Full,
            JoinType::LeftSemi => JoinKind::Semi,
            JoinType::LeftAnti => JoinKind::Anti,
            JoinType::LeftMark
            | JoinType::RightMark
            | JoinType::RightSemi
            | JoinType::RightAnti => {
                return Err(refuse::node(&LogicalPlan::Join(join.clone())));
            }
        };
        let conditions = join.filter.iter().flat_map(split_conjunction).cloned().collect();
        let null_equal = join.null_equality == NullEquality::NullEqualsNull;
        Ok(Asked { kind, on: join.on.clone(), conditions, null_equal, lookup: false })
    }

    /// Pairs whose columns are stored with two types are conditions.
    fn comparable(
        &self,
        asked: &mut Asked,
        (left, left_schema): (&Relation, &DFSchema),
        (right, right_schema): (&Relation, &DFSchema),
    ) -> Result<(), Report> {
        let stored = |relation: &Relation, expr: &Expr, schema: &DFSchema| {
            let expr = relation.inline(expr, schema)?;
            Ok::<DataType, Report>(canonical(&self.type_of(&expr, relation.schema())?))
        };
        for (one, other) in std::mem::take(&mut asked.on) {
            if stored(left, &one, left_schema)? == stored(right, &other, right_schema)? {
                asked.on.push((one, other));
            } else if asked.null_equal {
                return Err(not_yet("IS NOT DISTINCT FROM between two types in a join is"));
            } else {
                asked.conditions.push(one.eq(other));
            }
        }
        Ok(())
    }

    /// An input with all its columns.
    pub(super) fn input(
        &self,
        relation: Relation,
        schema: &DFSchema,
        on: &[Expr],
        carry: Carry,
    ) -> Result<Input, Report> {
        let mut wanted = Columns::default();
        for (expr, field) in relation.columns.iter().zip(schema.fields()) {
            wanted.push(expr.clone(), field.name());
        }
        let places = (0..wanted.len()).map(Some).collect();
        let keys = key_columns(&relation, schema, on, &mut wanted)?;
        at_least_one(&relation, &mut wanted);
        let (node, event_time) = self.project(relation, wanted, carry)?;
        Ok(Input { node, places, keys, event_time })
    }

    /// The right input of a semi or anti join: distinct values of the columns that decide.
    fn deciding(
        &self,
        relation: Relation,
        schema: &DFSchema,
        on: &[Expr],
        conditions: &[Expr],
    ) -> Result<Input, Report> {
        let mut wanted = Columns::default();
        let mut places = vec![None; schema.fields().len()];
        for index in used(conditions, schema)? {
            let (expr, field) = (&relation.columns[index], schema.field(index));
            places[index] = Some(wanted.push(expr.clone(), field.name()));
        }
        let keys = key_columns(&relation, schema, on, &mut wanted)?;
        if wanted.len() == 0 {
            wanted.push(lit(true), "exists");
        }
        let width = wanted.len();
        let (node, _) = self.project(relation.clone(), wanted.clone(), Carry::Key)?;
        if node.meta().schema.fields().len() == width {
            return Ok(Input { node, places, keys, event_time: None });
        }
        let (input, _) = self.project(relation, wanted, Carry::Nothing)?;
        let from = input.meta();
        let watermarks = if from.append_only { Vec::new() } else { from.watermarks.clone() };
        let group: Vec<usize> = (0..width).collect();
        let schema = Arc::clone(&from.schema);
        let meta = Meta { schema, key: group.clone(), append_only: false, watermarks };
        // What a view promises holds: a group that it does not change any more goes.
        let (calls, settled) = (Vec::new(), meta.watermarks.first().cloned());
        let distinct = Aggregate { input, group, hop: None, calls, settled, meta };
        let node = Node::Aggregate(Box::new(distinct));
        Ok(Input { node, places, keys, event_time: None })
    }
}

fn not_in() -> Report {
    not_yet("NOT IN over a subquery that may have NULLs and uses outer columns or constants is")
        .hint("Use NOT EXISTS.")
}

/// The columns of the right input that conditions use.
fn used(conditions: &[Expr], schema: &DFSchema) -> Result<BTreeSet<usize>, Report> {
    let mut found = BTreeSet::new();
    for condition in conditions {
        let walked = condition.apply(|part| {
            if let Expr::Column(column) = part {
                found.extend(schema.maybe_index_of_column(column));
            }
            Ok(TreeNodeRecursion::Continue)
        });
        walked.map_err(failure)?;
    }
    Ok(found)
}

fn key_columns(
    relation: &Relation,
    schema: &DFSchema,
    on: &[Expr],
    wanted: &mut Columns,
) -> Result<Vec<usize>, Report> {
    let each = on.iter().map(|expr| {
        let name = expr.schema_name().to_string();
        Ok(wanted.add(relation.inline(expr, schema)?, &name))
    });
    each.collect()
}

/// Rows without columns cannot be kept.
fn at_least_one(relation: &Relation, wanted: &mut Columns) {
    if wanted.len() == 0 {
        let schema = relation.schema();
        wanted.push(column(schema, 0), schema.field(0).name());
    }
}

/// Gives the columns of an input names that the other does not have. The origin of a row is not
/// that of a pair, unless there is one pair for it at most (`keeps_origin`).
pub(super) fn rename(
    node: &mut Node,
    taken: &mut BTreeSet<String>,
    keeps_origin: bool,
) -> Result<(), Report> {
    let fields = node.meta().schema.fields().iter().map(|field| {
        let base = match field.name().as_str() {
            PARTITION_COLUMN if !keeps_origin => "_key_partition".to_owned(),
            OFFSET_COLUMN if !keeps_origin => "_key_offset".to_owned(),
            name => name.to_owned(),
        };
        let mut name = base.clone();
        let mut count = 1;
        while !taken.insert(name.clone()) {
            count += 1;
            name = format!("{base}_{count}");
        }
        field.as_ref().clone().with_name(name)
    });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<Field>>()));
    relabel(node, schema)
}

fn relabel(node: &mut Node, schema: SchemaRef) -> Result<(), Report> {
    if let Node::Chain(chain) = node {
        let Some(Step::Project { schema: own, .. }) = chain.steps.last_mut() else {
            return Err(internal("an input of a join is no projection"));
        };
        *own = Arc::clone(&schema);
    }
    meta_mut(node).schema = schema;
    Ok(())
}

/// Adds a column to the left input of a full join where else a left row and a right row, each
/// without a match, could have the same key: all of it NULL.
fn presence(left: Node, right: &Node, taken: &mut BTreeSet<String>) -> Result<Node, Report> {
    let is_known = |node: &Node| {
        let meta = node.meta();
        meta.key.iter().any(|column| !meta.schema.field(*column).is_nullable())
    };
    if is_known(&left) || is_known(right) {
        return Ok(left);
    }
    let Node::Chain(mut chain) = left else {
        return Err(internal("an input of a join is no projection"));
    };
    let Some(Step::Project { expressions, schema }) = chain.steps.last_mut() else {
        return Err(internal("an input of a join is no projection"));
    };
    taken.insert(PRESENCE.to_owned());
    let present = datafusion::physical_expr::expressions::lit(true);
    expressions.push(millrace_plan::Scalar(present));
    let mut fields: Vec<Field> = schema.fields().iter().map(|f| f.as_ref().clone()).collect();
    fields.push(Field::new(PRESENCE, DataType::Boolean, false));
    *schema = Arc::new(Schema::new(fields));
    chain.meta.schema = Arc::clone(schema);
    chain.meta.key.push(schema.fields().len() - 1);
    Ok(Node::Chain(chain))
}

/// Where the logical columns of both inputs stand in a pair.
pub(super) fn shifted(
    left: &[Option<usize>],
    right: &[Option<usize>],
    width: usize,
) -> Vec<Option<usize>> {
    let right = right.iter().map(|place| place.map(|place| width + place));
    left.iter().copied().chain(right).collect()
}

/// The logical columns of both inputs over the columns of a pair.
fn over(node: &Node, pairs: &SchemaRef, logical: &DFSchema, places: &[Option<usize>]) -> Relation {
    let columns = places.iter().zip(logical.fields()).map(|(place, field)| match place {
        Some(place) => {
            let stored = pairs.field(*place).data_type();
            with_type(column(pairs, *place), stored, field.data_type())
        }
        // No condition uses it.
        None => lit(false),
    });
    let columns = columns.collect();
    Relation { node: node.clone(), columns, event_time: None, hop: None }
}

fn meta(asked: &Asked, on: &[JoinPair], (left, right): (&Node, &Node), append_only: bool) -> Meta {
    let (left, right) = (left.meta(), right.meta());
    let kind = asked.kind;
    let width = left.schema.fields().len();
    let mut key = left.key.clone();
    if kind.gives_pairs() {
        key.extend(right.key.iter().map(|column| width + column));
    }
    let mut watermarks = Vec::new();
    if !left.append_only && !right.append_only {
        for pair in on {
            let Some(both) = bounded(left, right, pair) else { continue };
            if !kind.keeps_right() {
                watermarks.push(Watermark { column: pair.left, ..both.clone() });
            }
            if kind.gives_pairs() && !kind.keeps_left() {
                watermarks.push(Watermark { column: width + pair.right, ..both });
            }
        }
    }
    let grows = matches!(kind, JoinKind::Inner | JoinKind::Semi);
    Meta {
        schema: Join::output_schema(kind, &left.schema, &right.schema),
        key,
        append_only: append_only && grows,
        watermarks,
    }
}

/// Adds what is known of the rows of a join whose state is cleaned.
fn promised(
    cleaning: Cleaning,
    meta: &mut Meta,
    kind: JoinKind,
    width: usize,
) -> [Option<Watermark>; 2] {
    let [one, other] = cleaning.pairs;
    let other = Watermark { column: width + other.column, ..other };
    // Where rows are padded with NULLs a column does not bound them.
    let left = (!kind.keeps_right()).then_some(one);
    let right = (kind.gives_pairs() && !kind.keeps_left()).then_some(other);
    for bound in left.into_iter().chain(right) {
        if !meta.watermarks.iter().any(|known| known.column == bound.column) {
            meta.watermarks.push(bound);
        }
    }
    // Its promise holds, which a stream that only appends does not say.
    meta.append_only = false;
    cleaning.clean.map(Some)
}

/// The promise that both inputs make on a pair of columns.
fn bounded(left: &Meta, right: &Meta, pair: &JoinPair) -> Option<Watermark> {
    let one = left.watermarks.iter().find(|one| one.column == pair.left)?;
    let other = right.watermarks.iter().find(|other| other.column == pair.right)?;
    let sources: BTreeSet<_> = one.sources.iter().chain(&other.sources).copied().collect();
    Some(Watermark {
        column: pair.left,
        shift: one.shift.max(other.shift),
        sources: sources.into_iter().collect(),
    })
}
