import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.StringReader;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.sql.Array;
import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.Date;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.time.LocalTime;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Properties;
import java.util.UUID;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyManager;
import org.postgresql.ds.PGConnectionPoolDataSource;
import org.postgresql.util.PGInterval;
import org.postgresql.util.PGobject;
import org.postgresql.util.PSQLException;

/** pgjdbc. */
public final class Client {
    private static final String USER = System.getenv("MILLRACE_USER");
    private static final String PASSWORD = System.getenv("MILLRACE_PASSWORD");
    private static final String URL = "jdbc:postgresql://" + System.getenv("MILLRACE_HOST") + ":"
            + System.getenv("MILLRACE_PORT") + "/dev";
    private static final BufferedReader INPUT = new BufferedReader(new InputStreamReader(System.in));
    private static final String ENDLESS = "SELECT count(*) FROM generate_series(1, 100000) a, "
            + "generate_series(1, 100000) b, generate_series(1, 100000) c";

    private interface Test {
        void run() throws Exception;
    }

    /** The driver has nothing of the kind. */
    private static final class Absent extends RuntimeException {
        Absent(String message) {
            super(message);
        }
    }

    private static String quoted(String text) {
        StringBuilder out = new StringBuilder("\"");
        for (char c : text.toCharArray()) {
            if (c == '"' || c == '\\') {
                out.append('\\');
            }
            out.append(c < ' ' ? ' ' : c);
        }
        return out.append('"').toString();
    }

    private static void tell(String feature, String result, String note) {
        String more = note == null ? "" : ", \"note\": " + quoted(note.split("\n")[0]);
        System.out.println("{\"feature\": " + quoted(feature) + ", \"result\": " + quoted(result) + more + "}");
    }

    private static void same(Object got, Object wanted) {
        if (!Objects.deepEquals(got, wanted)) {
            throw new IllegalStateException("got " + shown(got) + ", wanted " + shown(wanted));
        }
    }

    private static String shown(Object value) {
        return value instanceof Object[] array ? Arrays.deepToString(array) : String.valueOf(value);
    }

    private static PSQLException fails(String code, Test test) throws Exception {
        try {
            test.run();
        } catch (PSQLException error) {
            same(error.getSQLState(), code);
            return error;
        }
        throw new IllegalStateException("no error " + code);
    }

    private static Connection connect(String... options) throws SQLException {
        Properties properties = new Properties();
        properties.setProperty("user", USER);
        properties.setProperty("password", PASSWORD);
        properties.setProperty("sslmode", "disable");
        for (int at = 0; at < options.length; at += 2) {
            properties.setProperty(options[at], options[at + 1]);
        }
        return DriverManager.getConnection(URL, properties);
    }

    private static Object one(Connection conn, String sql, Object... values) throws SQLException {
        try (PreparedStatement statement = conn.prepareStatement(sql)) {
            for (int at = 0; at < values.length; at++) {
                statement.setObject(at + 1, values[at]);
            }
            try (ResultSet rows = statement.executeQuery()) {
                return rows.next() ? rows.getObject(1) : null;
            }
        }
    }

    private static int exec(Connection conn, String sql) throws SQLException {
        try (Statement statement = conn.createStatement()) {
            return statement.executeUpdate(sql);
        }
    }

    private static void connects() throws Exception {
        try (Connection conn = connect()) {
            same(one(conn, "SELECT current_user"), USER);
            same(conn.isValid(5), true);
            same(conn.getMetaData().getDatabaseMajorVersion(), 16);
        }
        fails("28P01", () -> connect("password", "no"));
    }

    private static void tls() throws Exception {
        try (Connection conn = connect("sslmode", "verify-full", "sslrootcert", System.getenv("MILLRACE_CA"))) {
            same(one(conn, "SELECT 1"), 1);
        }
    }

    private static List<String> column(ResultSet rows, String... names) throws SQLException {
        List<String> found = new ArrayList<>();
        while (rows.next()) {
            List<String> row = new ArrayList<>();
            for (String name : names) {
                row.add(rows.getString(name));
            }
            found.add(String.join(" ", row));
        }
        return found;
    }

    private static void objects() throws Exception {
        try (Connection conn = connect()) {
            DatabaseMetaData meta = conn.getMetaData();
            String[] kinds = {"TABLE", "VIEW", "MATERIALIZED VIEW"};
            List<String> found = column(meta.getTables(null, "public", "pgjdbc%", kinds), "TABLE_NAME", "TABLE_TYPE");
            found.sort(null);
            same(found, List.of("pgjdbc_events TABLE", "pgjdbc_kinds VIEW", "pgjdbc_totals MATERIALIZED VIEW"));
            same(column(meta.getSchemas(null, "public"), "TABLE_SCHEM"), List.of("public"));
            column(meta.getCatalogs(), "TABLE_CAT");
            column(meta.getTableTypes(), "TABLE_TYPE");
            column(meta.getTypeInfo(), "TYPE_NAME");
        }
    }

    private static void describe() throws Exception {
        try (Connection conn = connect()) {
            DatabaseMetaData meta = conn.getMetaData();
            same(column(meta.getColumns(null, "public", "pgjdbc_totals", "%"), "COLUMN_NAME", "TYPE_NAME"),
                    List.of("kind text", "n int8", "total float8"));
            same(column(meta.getPrimaryKeys(null, "public", "pgjdbc_events"), "COLUMN_NAME"), List.of("id"));
            column(meta.getIndexInfo(null, "public", "pgjdbc_events", false, false), "INDEX_NAME");
            column(meta.getImportedKeys(null, "public", "pgjdbc_events"), "FKCOLUMN_NAME");
            try (PreparedStatement statement = conn.prepareStatement("SELECT * FROM pgjdbc_totals WHERE n > ?")) {
                same(statement.getParameterMetaData().getParameterTypeName(1), "int8");
                same(statement.getMetaData().getColumnTypeName(3), "float8");
            }
        }
    }

    private static Map<String, Object> values() throws SQLException {
        LocalDateTime noon = LocalDateTime.of(2024, 2, 29, 12, 30, 0, 123_456_000);
        Map<String, Object> values = new LinkedHashMap<>();
        values.put("boolean", true);
        values.put("smallint", -32768);
        values.put("integer", Integer.MAX_VALUE);
        values.put("bigint", Long.MIN_VALUE);
        values.put("real", 1.5f);
        values.put("double precision", 0.1);
        values.put("numeric", new BigDecimal("12345678901234567890123456789.123456789"));
        values.put("text", "h\u00e9llo \u20ac \ud83d\ude00");
        values.put("bytea", new byte[] {0, -1, 92});
        values.put("date", noon.toLocalDate());
        values.put("time", LocalTime.of(12, 30, 0, 123_456_000));
        values.put("timestamp", noon);
        values.put("timestamptz", noon.atOffset(ZoneOffset.UTC));
        values.put("interval", new PGInterval(0, 1, 2, 3, 4, 5.6));
        values.put("uuid", UUID.fromString("12345678-1234-5678-1234-567812345678"));
        PGobject document = new PGobject();
        document.setType("jsonb");
        document.setValue("{\"a\": [1, null]}");
        values.put("jsonb", document);
        return values;
    }

    /** The value of a column as the class of a wanted one. */
    private static Object read(ResultSet rows, int at, Object wanted) throws SQLException {
        if (wanted instanceof LocalDate || wanted instanceof LocalTime || wanted instanceof LocalDateTime
                || wanted instanceof OffsetDateTime) {
            return rows.getObject(at, wanted.getClass());
        }
        return rows.getObject(at);
    }

    private static void types(boolean binary) throws Exception {
        // From this threshold on results and parameters are in binary.
        try (Connection conn = connect("prepareThreshold", binary ? "-1" : "0", "binaryTransfer", binary ? "true" : "false")) {
            for (Map.Entry<String, Object> entry : values().entrySet()) {
                String sql = "SELECT ?::" + entry.getKey() + ", NULL::" + entry.getKey();
                try (PreparedStatement statement = conn.prepareStatement(sql)) {
                    for (int n = 0; n < 2; n++) {
                        statement.setObject(1, entry.getValue());
                        try (ResultSet rows = statement.executeQuery()) {
                            rows.next();
                            same(read(rows, 1, entry.getValue()), entry.getValue());
                            same(rows.getObject(2), null);
                        }
                    }
                }
            }
            Array array = conn.createArrayOf("int4", new Integer[] {1, null, 3});
            Array found = (Array) one(conn, "SELECT ?::integer[]", array);
            same(found.getArray(), new Integer[] {1, null, 3});
            found = (Array) one(conn, "SELECT ?::text[]", conn.createArrayOf("text", new String[] {"a", "b \"c\"", null}));
            same(found.getArray(), new String[] {"a", "b \"c\"", null});
            inserted(conn);
        }
    }

    private static void inserted(Connection conn) throws Exception {
        List<String> columns = new ArrayList<>();
        List<Object> row = new ArrayList<>(values().values());
        for (String sql : values().keySet()) {
            columns.add("c" + columns.size() + " " + sql);
        }
        exec(conn, "DROP TABLE IF EXISTS pgjdbc_types");
        exec(conn, "CREATE TABLE pgjdbc_types (" + String.join(", ", columns) + ")");
        String marks = "?" + ", ?".repeat(row.size() - 1);
        try (PreparedStatement statement = conn.prepareStatement("INSERT INTO pgjdbc_types VALUES (" + marks + ")")) {
            for (int n = 0; n < 2; n++) {
                for (int at = 0; at < row.size(); at++) {
                    statement.setObject(at + 1, row.get(at));
                }
                statement.addBatch();
            }
            same(statement.executeBatch(), new int[] {1, 1});
        }
        String sql = "SELECT count(*) FROM pgjdbc_types WHERE c2 = ? AND c7 = ? AND c12 = ? AND c9 = ?";
        same(one(conn, sql, row.get(2), row.get(7), row.get(12), Date.valueOf("2024-02-29")), 2L);
    }

    private static void prepared() throws Exception {
        try (Connection conn = connect()) {
            try (PreparedStatement statement = conn.prepareStatement("SELECT ?::bigint + 1")) {
                for (long n = 0; n < 8; n++) {
                    statement.setLong(1, n);
                    ResultSet rows = statement.executeQuery();
                    rows.next();
                    same(rows.getLong(1), n + 1);
                }
            }
            // A statement whose columns change is prepared anew by the driver.
            exec(conn, "CREATE VIEW pgjdbc_v AS SELECT 1 AS a");
            try (PreparedStatement statement = conn.prepareStatement("SELECT * FROM pgjdbc_v")) {
                for (int n = 0; n < 8; n++) {
                    statement.executeQuery().close();
                }
                exec(conn, "DROP VIEW pgjdbc_v");
                exec(conn, "CREATE VIEW pgjdbc_v AS SELECT 'x' AS a");
                ResultSet rows = statement.executeQuery();
                rows.next();
                same(rows.getString(1), "x");
            }
        }
    }

    private static void errors() throws Exception {
        try (Connection conn = connect()) {
            PSQLException error = fails("42703", () -> one(conn, "SELECT 1, nothing FROM pgjdbc_events"));
            same(error.getServerErrorMessage().getPosition(), 11);
            fails("22012", () -> one(conn, "SELECT 1 / 0"));
            fails("42601", () -> one(conn, "SELEC 1"));
            fails("42P01", () -> one(conn, "SELECT * FROM nowhere"));
            exec(conn, "INSERT INTO pgjdbc_events VALUES (1, 'a', 1)");
            error = fails("23505", () -> exec(conn, "INSERT INTO pgjdbc_events VALUES (1, 'a', 1)"));
            same(error.getServerErrorMessage().getDetail(), "Key (id)=(1) already exists.");
            same(error.getServerErrorMessage().getConstraint(), "pgjdbc_events_pkey");
        }
    }

    private static void transactions() throws Exception {
        try (Connection conn = connect(); Connection other = connect()) {
            String count = "SELECT count(*) FROM pgjdbc_events WHERE kind = 'tx'";
            conn.setAutoCommit(false);
            same(exec(conn, "INSERT INTO pgjdbc_events VALUES (100, 'tx', 1)"), 1);
            Savepoint savepoint = conn.setSavepoint();
            fails("23505", () -> exec(conn, "INSERT INTO pgjdbc_events VALUES (100, 'tx', 1)"));
            fails("25P02", () -> one(conn, "SELECT 1"));
            conn.rollback(savepoint);
            same(one(other, count), 0L);
            conn.commit();
            same(one(other, count), 1L);
            exec(conn, "INSERT INTO pgjdbc_events VALUES (101, 'tx', 1)");
            conn.rollback();
            same(one(conn, count), 1L);
            conn.rollback();
            conn.setReadOnly(true);
            fails("25006", () -> exec(conn, "INSERT INTO pgjdbc_events VALUES (102, 'tx', 1)"));
            conn.rollback();
            same(conn.getTransactionIsolation(), Connection.TRANSACTION_READ_COMMITTED);
            conn.setReadOnly(false);
            conn.setAutoCommit(true);
            // A batch takes effect as a whole.
            fails("23505", () -> batch(conn, 110, 111, 100));
            same(one(other, count), 1L);
            batch(conn, 110, 111);
            same(one(other, count), 3L);
        }
        try (Connection conn = connect("autosave", "always")) {
            conn.setAutoCommit(false);
            fails("42P01", () -> one(conn, "SELECT * FROM nowhere"));
            same(one(conn, "SELECT 1"), 1);
            conn.commit();
        }
    }

    private static void batch(Connection conn, int... numbers) throws Exception {
        try (PreparedStatement insert = conn.prepareStatement("INSERT INTO pgjdbc_events VALUES (?, 'tx', 1)")) {
            for (int number : numbers) {
                insert.setInt(1, number);
                insert.addBatch();
            }
            insert.executeBatch();
        } catch (BatchUpdateException error) {
            throw (SQLException) error.getCause();
        }
    }

    private static void streaming() throws Exception {
        try (Connection conn = connect()) {
            conn.setAutoCommit(false);
            try (PreparedStatement statement = conn.prepareStatement("SELECT x FROM generate_series(1, ?) AS g(x)")) {
                statement.setFetchSize(1000);
                statement.setInt(1, 20000);
                ResultSet rows = statement.executeQuery();
                long sum = 0;
                while (rows.next()) {
                    sum += rows.getLong(1);
                }
                same(sum, 200010000L);
                statement.setMaxRows(7);
                rows = statement.executeQuery();
                int seen = 0;
                while (rows.next()) {
                    seen++;
                }
                same(seen, 7);
            }
            conn.commit();
        }
    }

    private static CopyManager copies(Connection conn) throws SQLException {
        return conn.unwrap(PGConnection.class).getCopyAPI();
    }

    private static void copyIn() throws Exception {
        try (Connection conn = connect()) {
            StringBuilder lines = new StringBuilder();
            for (int n = 1000; n < 2000; n++) {
                lines.append(n).append(",\"copied, in\",").append(n % 2 == 1 ? "" : n / 4.0).append('\n');
            }
            same(copies(conn).copyIn("COPY pgjdbc_events FROM STDIN CSV", new StringReader(lines.toString())), 1000L);
            PSQLException error = fails("22P02", () -> copies(conn)
                    .copyIn("COPY pgjdbc_events FROM STDIN CSV", new StringReader("5000,a,1\nx,a,1\n")));
            same(error.getServerErrorMessage().getWhere(), "COPY pgjdbc_events, line 2, column id: \"x\"");
            same(one(conn, "SELECT count(amount) FROM pgjdbc_events WHERE kind = ?", "copied, in"), 500L);
        }
    }

    private static void copyOut() throws Exception {
        try (Connection conn = connect()) {
            StringWriter out = new StringWriter();
            String sql = "COPY (SELECT id, kind, amount FROM pgjdbc_events WHERE id IN (1000, 1001) ORDER BY id) TO STDOUT";
            same(copies(conn).copyOut(sql, out), 2L);
            same(out.toString(), "1000\tcopied, in\t250\n1001\tcopied, in\t\\N\n");
        }
    }

    private static void notices() throws Exception {
        try (Connection conn = connect(); Statement statement = conn.createStatement()) {
            statement.execute("DROP TABLE IF EXISTS pgjdbc_nothing");
            same(statement.getWarnings().getMessage(), "table \"pgjdbc_nothing\" does not exist, skipping");
        }
    }

    private static void cancel() throws Exception {
        try (Connection conn = connect(); Statement statement = conn.createStatement()) {
            statement.setQueryTimeout(1);
            fails("57014", () -> statement.executeQuery(ENDLESS));
            same(one(conn, "SELECT 1"), 1);
        }
    }

    private static void pool() throws Exception {
        PGConnectionPoolDataSource source = new PGConnectionPoolDataSource();
        source.setUrl(URL);
        source.setUser(USER);
        source.setPassword(PASSWORD);
        var pooled = source.getPooledConnection();
        try (Connection conn = pooled.getConnection()) {
            exec(conn, "SET application_name = 'other'");
            exec(conn, "DISCARD ALL");
        }
        try (Connection conn = pooled.getConnection()) {
            same("other".equals(one(conn, "SHOW application_name")), false);
        }
        pooled.close();
    }

    private static void applicationName() throws Exception {
        try (Connection conn = connect("ApplicationName", "pgjdbc test")) {
            same(one(conn, "SHOW application_name"), "pgjdbc test");
            conn.setClientInfo("ApplicationName", "renamed");
            same(one(conn, "SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()"), "renamed");
        }
    }

    private static void view() throws Exception {
        try (Connection conn = connect()) {
            for (long n = 1; n <= 2; n++) {
                exec(conn, "INSERT INTO pgjdbc_events VALUES (" + (3000 + n) + ", 'live', 2.5)");
                same(one(conn, "SELECT n FROM pgjdbc_totals WHERE kind = ?", "live"), n);
            }
        }
    }

    private static void subscribe() throws Exception {
        try (Connection conn = connect(); Connection other = connect()) {
            conn.setAutoCommit(false);
            exec(conn, "DECLARE changes CURSOR FOR SUBSCRIBE TO pgjdbc_totals WITH (snapshot = false)");
            exec(other, "INSERT INTO pgjdbc_events VALUES (4001, 'followed', 1)");
            try (Statement statement = conn.createStatement()) {
                ResultSet rows = statement.executeQuery("FETCH ALL changes WITH (timeout = '10s')");
                same(column(rows, "kind", "n"), List.of("followed 1"));
            }
            conn.commit();
        }
    }

    private static void reconnect() throws Exception {
        try (Connection conn = connect()) {
            same(one(conn, "SELECT 1"), 1);
            System.out.println("{\"restart\": true}");
            INPUT.readLine();
            same(conn.isValid(5), false);
        }
        try (Connection conn = connect()) {
            same(one(conn, "SELECT count(*) > 0 FROM pgjdbc_events"), true);
        }
    }

    // ANCHOR: snippet
    private static void snippet() throws SQLException {
        try (Connection conn = DriverManager.getConnection(URL, USER, PASSWORD)) {
            try (PreparedStatement insert = conn.prepareStatement("INSERT INTO pgjdbc_events VALUES (?, ?, ?)")) {
                insert.setInt(1, 9001);
                insert.setString(2, "snippet");
                insert.setDouble(3, 2.5);
                insert.executeUpdate();
            }
            try (Statement select = conn.createStatement();
                    ResultSet rows = select.executeQuery("SELECT kind, n, total FROM pgjdbc_totals")) {
                while (rows.next()) {
                    System.out.println(rows.getString("kind") + " " + rows.getLong("n") + " " + rows.getDouble("total"));
                }
            }
        }
    }
    // ANCHOR_END: snippet

    public static void main(String[] arguments) {
        Map<String, Test> tests = new LinkedHashMap<>();
        tests.put("connect", Client::connects);
        tests.put("tls", Client::tls);
        tests.put("objects", Client::objects);
        tests.put("describe", Client::describe);
        tests.put("types_text", () -> types(false));
        tests.put("types_binary", () -> types(true));
        tests.put("prepared", Client::prepared);
        tests.put("errors", Client::errors);
        tests.put("transactions", Client::transactions);
        tests.put("streaming", Client::streaming);
        tests.put("copy_in", Client::copyIn);
        tests.put("copy_out", Client::copyOut);
        tests.put("notices", Client::notices);
        tests.put("cancel", Client::cancel);
        tests.put("pool", Client::pool);
        tests.put("application_name", Client::applicationName);
        tests.put("view", Client::view);
        tests.put("subscribe", Client::subscribe);
        tests.put("reconnect", Client::reconnect);
        tests.put("snippet", Client::snippet);
        tests.forEach((feature, test) -> {
            try {
                test.run();
                tell(feature, "yes", null);
            } catch (Absent absent) {
                tell(feature, "-", absent.getMessage());
            } catch (Exception error) {
                error.printStackTrace();
                tell(feature, "no", String.valueOf(error.getMessage()));
            }
        });
    }
}
