/// One cell of the matrix: what goes wrong, when, and for which customer.
struct Cell: Sendable, CustomStringConvertible {
    var moment: Moment
    var fault: Fault
    var target: Target

    static let all: [Cell] = Moment.all.flatMap { moment in
        Fault.allCases.flatMap { fault in
            Target.allCases.map { Cell(moment: moment, fault: fault, target: $0) }
        }
    }

    var isInsideDatabase: Bool {
        if case .obstacle = moment { true } else { false }
    }

    var description: String {
        "\(moment.name) | \(fault.rawValue) | \(target.rawValue)"
    }
}
