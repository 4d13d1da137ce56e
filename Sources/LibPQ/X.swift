import CPostgres
import Logging
import Metrics
import DequeModule
public let pqVersion = PQlibVersion()
