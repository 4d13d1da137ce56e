/// A type that a column can be read as.
public protocol RowValue {
    static func read(_ column: String, of row: Row) -> Self?
}

extension String: RowValue {
    public static func read(_ column: String, of row: Row) -> String? { row.string(column) }
}

extension Int: RowValue {
    public static func read(_ column: String, of row: Row) -> Int? { row.int(column) }
}

extension Bool: RowValue {
    public static func read(_ column: String, of row: Row) -> Bool? { row.bool(column) }
}

extension Double: RowValue {
    public static func read(_ column: String, of row: Row) -> Double? { row.string(column).flatMap { Double($0) } }
}

extension [UInt8]: RowValue {
    public static func read(_ column: String, of row: Row) -> [UInt8]? { row.bytes(column) }
}

extension UUID: RowValue {
    public static func read(_ column: String, of row: Row) -> UUID? { row.uuid(column) }
}

extension Row {
    /// A value that the database must have given.
    ///
    /// - Throws: ``DatabaseError/unexpected(_:)`` for NULL and for what isn't of this type.
    public func get<Value: RowValue>(_ column: String) throws(DatabaseError) -> Value {
        guard let value = Value.read(column, of: self) else {
            throw .unexpected("column \(column) isn't a \(Value.self)")
        }
        return value
    }

    /// A value of an ENUM that the database must have given.
    ///
    /// - Throws: ``DatabaseError/unexpected(_:)`` for NULL and for a label that isn't known.
    public func get<Value: RawRepresentable<String>>(_ column: String) throws(DatabaseError) -> Value {
        guard let value = string(column).flatMap(Value.init(rawValue:)) else {
            throw .unexpected("column \(column) isn't a \(Value.self)")
        }
        return value
    }
}

extension QueryResult {
    /// The only row of a result that must have one.
    ///
    /// - Throws: ``DatabaseError/unexpected(_:)`` when there is none.
    public func row() throws(DatabaseError) -> Row {
        guard let row = rows.first else { throw .unexpected("there is no row") }
        return row
    }

    /// The first column of a result, which the database must have given in every row.
    public func values<Value: RowValue>() throws(DatabaseError) -> [Value] {
        var values: [Value] = []
        for row in rows { values.append(try row.get(columns[0])) }
        return values
    }
}
