from serve import server
