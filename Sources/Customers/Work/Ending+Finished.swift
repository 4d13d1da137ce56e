import LibPQ

extension UnitOfWork.Ending {
    /// What came of a unit of work that no foreign key refuses.
    ///
    /// - Parameter interpret: reads the results of the statements.
    func finished(
        _ interpret: ([QueryResult]) throws(UnitOfWorkError) -> Finished
    ) throws(UnitOfWorkError) -> Finished {
        switch self {
        case .committed(let results): try interpret(results)
        case .settled(let receipt): Finished(settled: receipt)
        case .violated(let error, _): throw .failed(.server(error))
        }
    }
}
