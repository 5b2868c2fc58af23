// devices
