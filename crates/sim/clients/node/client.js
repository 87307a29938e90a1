// node-postgres, with pg-cursor, pg-query-stream and pg-copy-streams.
'use strict'

const fs = require('fs')
const readline = require('readline')
const { pipeline } = require('stream/promises')
const { Readable, Writable } = require('stream')
const pg = require('pg')
const Cursor = require('pg-cursor')
const QueryStream = require('pg-query-stream')
const { from: copyFrom, to: copyTo } = require('pg-copy-streams')

const env = process.env
const where = {
  host: env.MILLRACE_HOST,
  port: Number(env.MILLRACE_PORT),
  database: 'dev',
  user: env.MILLRACE_USER,
  password: env.MILLRACE_PASSWORD,
}
// What one would set in a program: whole numbers of eight bytes as they are, times as text.
const asText = [1082, 1114, 1184, 1186]
asText.forEach((oid) => pg.types.setTypeParser(oid, (text) => text))

const tell = (line) => process.stdout.write(JSON.stringify(line) + '\n')
const input = readline.createInterface({ input: process.stdin })

function restart() {
  const done = new Promise((resolve) => input.once('line', resolve))
  tell({ restart: true })
  return done
}

function same(got, wanted) {
  const [g, w] = [JSON.stringify(got), JSON.stringify(wanted)]
  if (g !== w) throw new Error(`got ${g}, wanted ${w}`)
}

async function fails(code, promise) {
  try {
    await promise
  } catch (error) {
    if (error.code !== code) throw error
    return error
  }
  throw new Error(`no error ${code}`)
}

async function within(test, more) {
  const client = new pg.Client({ ...where, ...more })
  client.on('error', () => {})
  await client.connect()
  try {
    return await test(client)
  } finally {
    await client.end().catch(() => {})
  }
}

const one = async (client, text, values) => Object.values((await client.query(text, values)).rows[0])[0]

const VALUES = [
  ['boolean', true],
  ['smallint', -32768],
  ['integer', 2147483647],
  ['bigint', '-9223372036854775808'],
  ['real', 1.5],
  ['double precision', 0.1],
  ['numeric', '12345678901234567890123456789.123456789'],
  ['text', 'h\u00e9llo \u20ac \u{1f600}'],
  ['bytea', Buffer.from([0, 255, 92])],
  ['date', '2024-02-29'],
  ['time', '12:30:00.123456'],
  ['timestamp', '2024-02-29 12:30:00.123456'],
  ['timestamptz', '2024-02-29 12:30:00.123456+00'],
  ['interval', '1 mon 2 days 03:04:05.6'],
  ['uuid', '12345678-1234-5678-1234-567812345678'],
  ['jsonb', { a: [1, null, 'x'] }],
  ['json', { a: [1, null, 'x'] }],
  ['integer[]', [1, null, 3]],
  ['text[]', ['a', 'b "c"', null, '']],
  ['boolean[]', [true, false]],
]

const tests = {
  async connect() {
    await within(async (client) => same(await one(client, 'SELECT current_user'), where.user))
    await fails('28P01', within(async () => {}, { password: 'no' }))
  },

  async tls() {
    const ssl = { ca: fs.readFileSync(env.MILLRACE_CA, 'utf8') }
    await within(async (client) => same(await one(client, 'SELECT 1'), 1), { ssl })
  },

  async objects() {
    await within(async (client) => {
      const text = "SELECT relname, relkind FROM pg_class WHERE relname LIKE 'node%' AND relkind IN ('r', 'v', 'm') ORDER BY 1"
      const { rows } = await client.query({ text, rowMode: 'array' })
      same(rows, [['node_events', 'r'], ['node_kinds', 'v'], ['node_totals', 'm']])
    })
  },

  async describe() {
    await within(async (client) => {
      const { fields } = await client.query('SELECT * FROM node_totals LIMIT 0')
      same(fields.map((f) => [f.name, f.dataTypeID]), [['kind', 25], ['n', 20], ['total', 701]])
      const text = 'SELECT column_name, udt_name FROM information_schema.columns WHERE table_name = $1 ORDER BY ordinal_position'
      const { rows } = await client.query({ text, values: ['node_events'], rowMode: 'array' })
      same(rows, [['id', 'int4'], ['kind', 'text'], ['amount', 'float8']])
    })
  },

  async types_text() {
    await within(async (client) => {
      for (const [sql, value] of VALUES) {
        for (const given of [value, null]) same(await one(client, `SELECT $1::${sql}`, [given]), given)
      }
      await client.query('DROP TABLE IF EXISTS node_types')
      await client.query(`CREATE TABLE node_types (${VALUES.map(([sql], n) => `c${n} ${sql}`)})`)
      const row = VALUES.map(([, value]) => value)
      await client.query(`INSERT INTO node_types VALUES (${VALUES.map((_, n) => '$' + (n + 1))})`, row)
      const text = 'SELECT * FROM node_types WHERE c2 = $1 AND c7 = $2 AND c12 = $3'
      const { rows } = await client.query({ text, values: [row[2], row[7], row[12]], rowMode: 'array' })
      same(rows[0], row)
    })
  },

  async types_binary() {
    await within(async (client) => {
      // The driver makes a text of what comes before it reads it in binary: bytes above 127 are lost on the way.
      const some = [['boolean', true], ['smallint', 7], ['integer', 65537], ['real', 2], ['double precision', 2],
        ['text', 'plain']]
      for (const [sql, value] of some) {
        for (const given of [value, null]) same(await one(client, `SELECT $1::${sql}`, [given]), given)
      }
    }, { binary: true })
  },

  async prepared() {
    await within(async (client) => {
      for (let n = 0; n < 8; n++) {
        const { rows } = await client.query({ name: 'add', text: 'SELECT $1::int + 1 AS x', values: [n] })
        same(rows, [{ x: n + 1 }])
      }
      await client.query('CREATE VIEW node_v AS SELECT 1 AS a')
      const view = { name: 'view', text: 'SELECT * FROM node_v' }
      same((await client.query(view)).rows, [{ a: 1 }])
      await client.query('DROP VIEW node_v')
      await client.query("CREATE VIEW node_v AS SELECT 'x' AS a")
      const error = await fails('0A000', client.query(view))
      same(error.message, 'cached plan must not change result type')
    })
  },

  async errors() {
    await within(async (client) => {
      const error = await fails('42703', client.query('SELECT 1, nothing FROM node_events'))
      same(error.position, '11')
      await fails('42703', client.query('SELECT nothing FROM node_events WHERE id = $1', [1]))
      await fails('22012', client.query('SELECT 1 / 0'))
      await fails('42601', client.query('SELEC 1'))
      await fails('42P01', client.query('SELECT * FROM nowhere'))
      await fails('22P02', client.query('SELECT $1::int', ['x']))
      await client.query("INSERT INTO node_events VALUES (1, 'a', 1)")
      const twice = await fails('23505', client.query("INSERT INTO node_events VALUES (1, 'a', 1)"))
      same(twice.detail, 'Key (id)=(1) already exists.')
    })
  },

  async transactions() {
    await within(async (client) => {
      const count = "SELECT count(*)::int FROM node_events WHERE kind = 'tx'"
      const insert = "INSERT INTO node_events VALUES ($1, 'tx', 1)"
      await client.query('BEGIN')
      same((await client.query(insert, [100])).rowCount, 1)
      await client.query('SAVEPOINT a')
      await fails('23505', client.query(insert, [100]))
      await fails('25P02', client.query('SELECT 1'))
      await client.query('ROLLBACK TO SAVEPOINT a')
      await within(async (other) => same(await one(other, count), 0))
      await client.query('COMMIT')
      same(await one(client, count), 1)
      await client.query('BEGIN')
      await client.query(insert, [101])
      await client.query('ROLLBACK')
      same(await one(client, count), 1)
      // Of one string either all statements take effect or none.
      const twice = "INSERT INTO node_events VALUES (110, 'tx', 1);"
      await fails('23505', client.query(twice + twice))
      same(await one(client, count), 1)
    })
  },

  async streaming() {
    await within(async (client) => {
      const text = 'SELECT x FROM generate_series(1, $1) AS g(x)'
      const cursor = client.query(new Cursor(text, [20000]))
      let [sum, rows] = [0, []]
      do {
        rows = await cursor.read(1000)
        rows.forEach((row) => { sum += Number(row.x) })
      } while (rows.length > 0)
      same(sum, 200010000)
      await cursor.close()
      sum = 0
      for await (const row of client.query(new QueryStream(text, [20000], { batchSize: 500 }))) sum += Number(row.x)
      same(sum, 200010000)
      // A cursor that is closed before its end leaves the connection usable.
      const early = client.query(new Cursor(text, [20000]))
      same((await early.read(2)).length, 2)
      await early.close()
      same(await one(client, 'SELECT 1'), 1)
    })
  },

  async copy_in() {
    await within(async (client) => {
      const lines = []
      for (let n = 1000; n < 2000; n++) lines.push(`${n}\tcopied in\t${n % 2 ? '\\N' : n / 4}\n`)
      const stream = client.query(copyFrom('COPY node_events FROM STDIN'))
      await pipeline(Readable.from(lines), stream)
      same(stream.rowCount, 1000)
      const wrong = pipeline(Readable.from(['5000,a,1\n', 'x,a,1\n']), client.query(copyFrom('COPY node_events FROM STDIN CSV')))
      const error = await fails('22P02', wrong)
      same(error.where, 'COPY node_events, line 2, column id: "x"')
      same(await one(client, "SELECT count(amount)::int FROM node_events WHERE kind = 'copied in'"), 500)
    })
  },

  async copy_out() {
    await within(async (client) => {
      let text = ''
      const sink = new Writable({ write(chunk, _, done) { text += chunk; done() } })
      await pipeline(client.query(copyTo('COPY (SELECT id, kind, amount FROM node_events WHERE id IN (1000, 1001) ORDER BY id) TO STDOUT')), sink)
      same(text, '1000\tcopied in\t250\n1001\tcopied in\t\\N\n')
    })
  },

  async notices() {
    await within(async (client) => {
      const heard = []
      client.on('notice', (notice) => heard.push([notice.severity, notice.message]))
      await client.query('DROP TABLE IF EXISTS node_nothing')
      same(heard, [['NOTICE', 'table "node_nothing" does not exist, skipping']])
    })
  },

  async cancel() {
    await within(async (client) => {
      const endless = 'SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b, generate_series(1, 100000) c'
      const query = new pg.Query({ text: endless })
      const running = fails('57014', new Promise((_, reject) => query.on('error', reject)))
      client.query(query)
      const asking = setInterval(() => new pg.Client(where).cancel(client, query), 100)
      await running.finally(() => clearInterval(asking))
      // A request on its way may still meet the next statement.
      const next = () => one(client, 'SELECT 1')
      same(await next().catch(next), 1)
    })
  },

  async pool() {
    const pool = new pg.Pool({ ...where, max: 1 })
    const first = await pool.connect()
    await first.query("SET application_name = 'other'")
    await first.query('DISCARD ALL')
    first.release()
    same((await pool.query('SHOW application_name')).rows[0].application_name === 'other', false)
    same((await Promise.all([1, 2, 3].map((n) => pool.query('SELECT $1::int AS n', [n])))).map((r) => r.rows[0].n), [1, 2, 3])
    await pool.end()
  },

  async application_name() {
    await within(async (client) => {
      same(await one(client, 'SHOW application_name'), 'node test')
      same(await one(client, "SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()"), 'node test')
    }, { application_name: 'node test' })
  },

  async view() {
    await within(async (client) => {
      for (const [n, amount] of [[1, 2.5], [2, 4]]) {
        await client.query("INSERT INTO node_events VALUES ($1, 'live', $2)", [3000 + n, amount])
        same(await one(client, 'SELECT n FROM node_totals WHERE kind = $1', ['live']), String(n))
      }
    })
  },

  async subscribe() {
    await within(async (client) => {
      await client.query('BEGIN')
      await client.query('DECLARE changes CURSOR FOR SUBSCRIBE TO node_totals WITH (snapshot = false)')
      await within((other) => other.query("INSERT INTO node_events VALUES (4001, 'followed', 1)"))
      const { rows } = await client.query({ text: "FETCH ALL changes WITH (timeout = '10s')", rowMode: 'array' })
      same(rows.map((row) => row.slice(1, 4)), [['1', 'followed', '1']])
      await client.query('COMMIT')
    })
  },

  async reconnect() {
    const pool = new pg.Pool({ ...where, max: 1 })
    pool.on('error', () => {})
    await pool.query('SELECT 1')
    await restart()
    // The pool throws the broken connection away and makes a new one.
    let rows
    for (let n = 0; n < 3 && !rows; n++) {
      rows = await pool.query('SELECT count(*) > 0 AS there FROM node_events').then((r) => r.rows, () => undefined)
    }
    same(rows, [{ there: true }])
    await pool.end()
  },

  // ANCHOR: snippet
  async snippet() {
    const client = new pg.Client({ ...where, database: 'dev' })
    await client.connect()
    await client.query('INSERT INTO node_events VALUES ($1, $2, $3)', [9001, 'snippet', 2.5])
    const { rows } = await client.query('SELECT kind, n, total FROM node_totals WHERE kind = $1', ['snippet'])
    console.log(rows)
    await client.end()
  },
  // ANCHOR_END: snippet
}

async function main() {
  for (const [feature, test] of Object.entries(tests)) {
    try {
      await test()
      tell({ feature, result: 'yes' })
    } catch (error) {
      console.error(error)
      tell({ feature, result: 'no', note: String(error).split('\n')[0] })
    }
  }
  input.close()
}

main()
