import Customers
import Hummingbird
import HummingbirdTLS
import NIOHTTP1
