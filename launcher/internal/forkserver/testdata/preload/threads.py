import threading

threading.Thread(target=threading.Event().wait, name="watcher", daemon=True).start()
