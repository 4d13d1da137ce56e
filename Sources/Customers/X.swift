import LibPQ
import Crypto
import ServiceLifecycle
